"""Payloads of a history, as this client can read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.common import RawValue

from temporal_fanout.wire.payloads import from_json


async def decoded(client: Client, payloads: Sequence[Payload]) -> list[Payload]:
    """Payloads as a workflow has them: without the client's codec. Raises whatever the codec does."""
    if not payloads:
        return []
    hints: list[type] = [RawValue] * len(payloads)
    return [raw.payload for raw in await client.data_converter.decode(payloads, hints)]


async def encoded(client: Client, payloads: Sequence[Payload]) -> list[Payload]:
    """Payloads of a workflow as a history has them: each through the client's codec."""
    codec = client.data_converter.payload_codec
    if codec is None:
        return list(payloads)
    return [(await codec.encode([payload]))[0] for payload in payloads]


async def encoded_fields(client: Client, fields: Mapping[str, Payload]) -> dict[str, Payload]:
    """The same of those of a memo."""
    return dict(zip(fields, await encoded(client, list(fields.values())), strict=True))


async def first_value(client: Client, payloads: Sequence[Payload] | None) -> Any:
    """The first value; none where there is none, or none that can be read."""
    if not payloads:
        return None
    try:
        return (await client.data_converter.decode(payloads[:1]))[0]
    except Exception:  # of whatever converter or codec
        return None


async def own_json(client: Client, payloads: Sequence[Payload]) -> Any:
    """The first value, where it is one of our messages, which are JSON whatever the converter; else none."""
    try:
        return from_json((await decoded(client, payloads[:1]))[0])
    except Exception:  # of whatever codec
        return None


def is_count(value: Any) -> bool:
    """Whether it is a whole number, from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
