"""`InvalidInput`, and the checks that raise it: the only words for "must be …, not …"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError

NAME_BYTES = 1000
"""Of a task queue, a type and an id, in UTF-8, at most, as the server has it."""
COUNT = 2**31 - 1
"""The largest count that the server's messages hold."""

_MESSAGE_CHARACTERS = 1000


class InvalidInput(ApplicationError):
    """Input that can never work; the message is one sentence that starts with the offending field.

    An `ApplicationError` that is not retried: raised in a workflow, it fails the workflow, where any other exception
    would have its task tried for ever.
    """

    def __init__(self, message: str) -> None:
        message = message.encode("utf-8", "backslashreplace").decode()  # a key may be no Unicode, a failure must be
        if len(message) > _MESSAGE_CHARACTERS:
            message = message[: _MESSAGE_CHARACTERS - 1] + "…"
        super().__init__(message, type="InvalidInput", non_retryable=True)


def known(path: str, given: Mapping[str, Any], cls: type) -> dict[str, Any]:
    names = [f.name for f in fields(cls)]
    for key in given:
        if key not in names:
            raise InvalidInput(f"{path}.{key}: is not known; known are {', '.join(names)}")
    return dict(given)


def shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # of whatever class a user gives; Python itself refuses to write whole numbers of 4,300 digits
        text = f"a value of {type(value).__name__}"
    return text if len(text) <= 60 else text[:57] + "…"


def whole(path: str, value: Any, *, least: int, most: int | None = None) -> None:
    """Raises `InvalidInput` unless the value is a whole number in these bounds."""
    if isinstance(value, bool) or not isinstance(value, int) or value < least or (most is not None and value > most):
        bound = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise InvalidInput(f"{path}: must be a whole number {bound}, not {shown(value)}")


def number(
    path: str, value: Any, *, above: float | None = None, least: float | None = None, most: float | None = None
) -> None:
    """Raises `InvalidInput` unless the value is a finite number in these bounds."""
    good = not isinstance(value, bool) and isinstance(value, int | float) and _is_finite(value)
    good = good and (above is None or value > above) and (least is None or value >= least)
    if not good or (most is not None and value > most):
        bound = f"above {above}" if above is not None else f"of at least {least}"
        bound = bound if most is None else f"from {least} to {most}"
        raise InvalidInput(f"{path}: must be a number {bound}, not {shown(value)}")


def _is_finite(value: int | float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def duration(path: str, value: Any) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    number(path, seconds, above=0, least=0.001, most=10 * 365 * 86400)
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds)


def task_queue(path: str, value: Any) -> None:
    """Raises `InvalidInput` unless the value can be the name of a task queue."""
    _name(path, value, reserved="/_sys/")


def work_type(path: str, value: Any) -> None:
    """Raises `InvalidInput` unless the value can be the type of a workflow or of an activity."""
    _name(path, value, reserved="__temporal_")


def _name(path: str, value: Any, *, reserved: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise InvalidInput(f"{path}: must be a name, not {shown(value)}")
    size = utf8(path, value)
    if size > NAME_BYTES:
        raise InvalidInput(f"{path}: must take at most {NAME_BYTES} bytes of UTF-8, not {size}")
    if value.startswith(reserved):
        raise InvalidInput(f"{path}: must not begin with {reserved}, which Temporal reserves; not {shown(value)}")


def utf8(path: str, value: str) -> int:
    """Bytes of the text. Raises `InvalidInput` where it is no Unicode, which the SDK cannot send."""
    try:
        return len(value.encode())
    except UnicodeEncodeError:
        raise InvalidInput(
            f"{path}: must be Unicode text, without half of a surrogate pair, not {shown(value)}"
        ) from None


def strings(path: str, value: Any) -> None:
    """Raises `InvalidInput` unless the value is a list or a tuple of texts."""
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InvalidInput(f"{path}: must be an array of texts, not {shown(value)}")
