"""Pages of a source as a history has them: the activities by which a fan-out reads it, which are no items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from temporal_fanout.histories.events import Begun
from temporal_fanout.histories.values import decoded, first_value, is_count, own_json
from temporal_fanout.results import Outcome
from temporal_fanout.source import READ_HISTORY, PageRequest
from temporal_fanout.wire.payloads import unpack
from temporal_fanout.wire.starts import ACTIVITY

_REQUEST = {field.name for field in fields(PageRequest)}


class Pages:
    """What one workflow has read of sources."""

    def __init__(self, client: Client) -> None:
        self.items: dict[int, Payload] = {}
        """By index, as a workflow has them."""
        self.are_recorded = False
        """Whether those are recorded starts."""
        self.surveyed: list[int] = []
        """How many items there are, as each survey says."""
        self._client = client

    async def take(self, one: Begun) -> bool:
        """Whether a fan-out reads its source by this activity: nothing else is asked by a `PageRequest`."""
        inputs = one.attributes.input.payloads
        is_plain = self._client.data_converter.payload_codec is None
        if not inputs or (is_plain and b'"max_bytes"' not in inputs[0].data):
            return False
        request = await own_json(self._client, inputs)
        if not isinstance(request, dict) or request.keys() != _REQUEST:
            return False
        if one.end is not None and one.end.outcome is Outcome.COMPLETED:
            answer = one.end.attributes.result.payloads
            if request["limit"]:
                self.items.update(enumerate(await self._items(one, answer), request["offset"]))
            else:
                page = await own_json(self._client, answer) or await first_value(self._client, answer)
                if isinstance(page, dict) and is_count(page.get("total")):
                    self.surveyed.append(page["total"])
        return True

    async def _items(self, one: Begun, answer: Sequence[Payload]) -> Sequence[Payload]:
        """Those of a page; none where it cannot be read."""
        if one.type == ACTIVITY + READ_HISTORY:
            self.are_recorded = True
            try:
                [payload] = await decoded(self._client, answer)
                _, *items = unpack(payload)
            except Exception:  # of whatever codec
                return ()
            return items
        page = await first_value(self._client, answer)
        if not isinstance(page, dict) or not isinstance(page.get("items"), list):
            return ()
        convert = self._client.data_converter.payload_converter
        return [convert.to_payload(value) for value in page["items"]]
