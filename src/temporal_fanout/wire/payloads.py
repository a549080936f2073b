"""Payloads: what is shown of one, and how much it takes."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf.message import DecodeError
from temporalio import workflow
from temporalio.api.common.v1 import Payload, Payloads
from temporalio.common import RawValue

from temporal_fanout.checks import InvalidInput

_PACKED = {"encoding": b"binary/protobuf", "messageType": Payloads.DESCRIPTOR.full_name.encode()}

ITEM_BYTES = 1024 * 1024
"""Of one item, at most; the server refuses a payload over 2 MiB, and the workflow task that holds it, for ever."""


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


def as_json_values(values: Sequence[Any], path: str) -> list[Any]:
    """The values as JSON, as the workflow's data converter writes them. Raises `InvalidInput`, naming the place."""
    encoded_size(values, path)
    return [as_json(workflow.payload_converter().to_payload(value)) for value in values]


def encoded_size(items: Sequence[Any], path: str, start: int = 0) -> int:
    """Bytes of the items as JSON, together.

    Encodes whole lists, and parts of them only where one item could be too large: a list of a million numbers must
    not take the two seconds that a workflow task has. Raises `InvalidInput`, naming the item that cannot be sent.
    """
    try:
        payload = workflow.payload_converter().to_payload(list(items))
        size = len(payload.data)
        reason = f"takes {size / 1024**2:.1f} MiB, over {ITEM_BYTES // 1024**2}; give a reference to it instead"
    except Exception as error:  # whatever the data converter raises
        size, reason = -1, f"cannot be sent as JSON: {error}"
    if 0 <= size <= ITEM_BYTES + 2:
        return size
    if len(items) == 1:
        raise InvalidInput(f"{path}[{start}]: {reason}")
    half = len(items) // 2
    return encoded_size(items[:half], path, start) + encoded_size(items[half:], path, start + half)


def in_order(value: Mapping[str, Any]) -> RawValue:
    """An object as JSON with its keys in this order: the SDK's own converter would sort them."""
    data = json.dumps(value, separators=(",", ":")).encode()
    return RawValue(Payload(metadata={"encoding": b"json/plain"}, data=data))
