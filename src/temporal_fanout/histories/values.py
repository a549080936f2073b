"""Values of a history, as far as this client can read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client


async def first_value(client: Client, payloads: Sequence[Payload] | None) -> Any:
    """The first value; none where there is none, or none that can be read."""
    if not payloads:
        return None
    try:
        return (await client.data_converter.decode(payloads[:1]))[0]
    except Exception:  # of whatever converter or codec
        return None


def is_count(value: Any) -> bool:
    """Whether it is a whole number, from 0 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0
