"""Payloads: what is shown of one, and how much it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, overload

from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput

_PACKED = {"encoding": b"binary/protobuf", "messageType": Payloads.DESCRIPTOR.full_name.encode()}

_ASCII = bytes(range(128))
_PLAIN = {bool, int, float, str, type(None), list, dict}
"""What every payload converter encodes in a list as it does alone."""

ITEM_BYTES = 1024 * 1024
"""Of one item or argument, at most; the server refuses a payload over 2 MiB, and its workflow task, for ever."""
START_BYTES = 1800 * 1024
"""Of all that one start takes, at most: the item, its arguments and its memo; a shard is given them as one payload."""
LIST_BYTES = 4 * 1024 * 1024
"""Of a list of items, at most: each passes through the history of its parent."""
ANSWER_BYTES = 1024 * 1024
"""Of the answer to a query, at most; the server refuses one over 2 MiB."""


def to_json(value: Any) -> Payload:
    """A payload of our own: JSON whatever the user's converter, its keys in their order."""
    data = json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Payload(metadata={"encoding": b"json/plain"}, data=data)


def from_json(payload: Payload) -> Any:
    """The value of a payload of our own. Raises `ValueError`."""
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding != "json/plain":
        raise ValueError(f"is {encoding or 'of no encoding'} instead of JSON: is a codec missing?")
    return json.loads(payload.data)


def pack(payloads: Sequence[Payload]) -> Payload:
    """Payloads as one, each as it is."""
    return Payload(metadata=_PACKED, data=Payloads(payloads=payloads).SerializeToString())


def unpack(payload: Payload) -> list[Payload]:
    """What was packed as one. Raises `ValueError`."""
    if payload.metadata.get("messageType") != _PACKED["messageType"]:
        raise ValueError("are not packed as one: is a codec missing?")
    try:
        return list(Payloads.FromString(payload.data).payloads)
    except DecodeError as error:
        raise ValueError(str(error)) from None


def as_json(payload: Payload | None) -> Any:
    """A payload as JSON; what is not JSON is shown as its encoding and size."""
    if payload is None:
        return None
    encoding = payload.metadata.get("encoding", b"").decode(errors="replace")
    if encoding == "binary/null":
        return None
    if encoding.startswith("json/"):
        try:
            return json.loads(payload.data)
        except ValueError:
            pass
    return {"encoding": encoding, "size": len(payload.data)}


def is_packed(payload: Payload) -> bool:
    """Whether it is several payloads as one."""
    return payload.metadata.get("messageType") == _PACKED["messageType"]


def cost(payload: Payload | None) -> int:
    """Bytes that a payload takes in a result, at most: text may be written there with escapes, as `\\u0416`."""
    if payload is None:
        return 0
    return len(payload.data) + 2 * len(payload.data.translate(None, _ASCII))


def text_cost(text: str) -> int:
    """Bytes that a text takes in a result, at most."""
    return len(json.dumps(text))


def encode(value: Any, path: str, most: int = ITEM_BYTES) -> Payload:
    """A value as the workflow's payload converter makes it. Raises `InvalidInput`, naming the place."""
    try:
        payload = workflow.payload_converter().to_payload(value)
    except Exception as error:  # whatever the user's converter raises
        raise InvalidInput(f"{path}: cannot be encoded by the data converter: {error}") from None
    _check_size(payload.ByteSize(), path, most)
    return payload


class ItemList(Sequence[Payload]):
    """A list of a user's values as payloads, each encoded once, by the workflow's converter, when it is needed."""

    def __init__(self, values: Sequence[Any], encoded: list[Payload | None], window: range) -> None:
        self._values = values
        self._encoded = encoded
        self._window = window

    @classmethod
    def checked(cls, values: Sequence[Any], path: str, most: int, most_together: int) -> ItemList:
        """Raises `InvalidInput`, naming the item, where one cannot be encoded or takes over `most` bytes.

        A list of a million numbers must not take the two seconds that a workflow task has: plain values are encoded
        together to be measured, and one by one only later.
        """
        encoded: list[Payload | None] = [None] * len(values)
        if all(type(value) in _PLAIN for value in values):
            total = _measured(values, path, most) if values else 0
        else:
            total = 0
            for index, value in enumerate(values):
                encoded[index] = payload = encode(value, f"{path}[{index}]", most)
                total += payload.ByteSize()
        if total > most_together:
            limit = most_together // 1024**2
            raise InvalidInput(f"{path}: take over {limit} MiB together; give a Source instead")
        return cls(values, encoded, range(len(values)))

    def __len__(self) -> int:
        return len(self._window)

    @overload
    def __getitem__(self, at: int) -> Payload: ...
    @overload
    def __getitem__(self, at: slice) -> ItemList: ...
    def __getitem__(self, at: int | slice) -> Payload | ItemList:
        if isinstance(at, slice):
            return ItemList(self._values, self._encoded, self._window[at])
        index = self._window[at]
        payload = self._encoded[index]
        if payload is None:
            payload = self._encoded[index] = encode(self._values[index], f"items[{index}]", 2 * ITEM_BYTES)
        return payload

    def value(self, at: int) -> Any:
        """The value itself."""
        return self._values[self._window[at]]


def _measured(values: Sequence[Any], path: str, most: int, start: int = 0) -> int:
    """Bytes of plain values together; only parts that could hold one that is too large are taken apart."""
    try:
        size = len(workflow.payload_converter().to_payload(list(values)).data)
    except Exception:
        size = most + 3 if len(values) > 1 else encode(values[0], f"{path}[{start}]", most).ByteSize()
    if size <= most + 2:
        return size
    if len(values) == 1:
        _check_size(size, f"{path}[{start}]", most)
        return size
    half = len(values) // 2
    return _measured(values[:half], path, most, start) + _measured(values[half:], path, most, start + half)


def _check_size(size: int, path: str, most: int) -> None:
    if size > most:
        limit = f"{most / 1024**2:.1f}".removesuffix(".0")
        with_others = "" if most >= ITEM_BYTES else " with its arguments and memo"
        raise InvalidInput(
            f"{path}: takes {size / 1024**2:.1f} MiB, over {limit}{with_others}; give a reference to it instead"
        )


def in_order(value: Mapping[str, Any]) -> RawValue:
    """An object as JSON with its keys in this order: the SDK's own converter would sort them."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))
