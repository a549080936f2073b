"""`InvalidInput`, and the checks that raise it: the only words for "must be …, not …"."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import fields
from datetime import timedelta
from typing import Any

from temporalio.exceptions import ApplicationError


class InvalidInput(ApplicationError):
    """Input that can never work; the message is one sentence that starts with the offending field.

    An `ApplicationError` that is not retried: raised in a workflow, it fails the workflow, where any other exception
    would have its task tried for ever.
    """

    def __init__(self, message: str) -> None:
        super().__init__(message, type="InvalidInput", non_retryable=True)


def known(path: str, given: Mapping[str, Any], cls: type) -> dict[str, Any]:
    names = [f.name for f in fields(cls)]
    for key in given:
        if key not in names:
            raise InvalidInput(f"{path}.{key}: is not known; known are {', '.join(names)}")
    return dict(given)


def shown(value: Any) -> str:
    text = repr(value)
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
    good = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
    good = good and (above is None or value > above) and (least is None or value >= least)
    if not good or (most is not None and value > most):
        bound = f"above {above}" if above is not None else f"of at least {least}"
        bound = bound if most is None else f"from {least} to {most}"
        raise InvalidInput(f"{path}: must be a number {bound}, not {shown(value)}")


def duration(path: str, value: Any) -> timedelta:
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    number(path, seconds, above=0, least=0.001, most=10 * 365 * 86400)
    return value if isinstance(value, timedelta) else timedelta(seconds=seconds)


def strings(path: str, value: Any) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise InvalidInput(f"{path}: must be an array of texts, not {shown(value)}")
