"""What became of each item in the end: in its run, in a retry of that, or in theirs."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

from temporalio.api.common.v1 import Payload
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.histories.events import read_started
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.listing import Listing, Row
from temporal_fanout.histories.values import decoded
from temporal_fanout.results import Outcome
from temporal_fanout.retries.choice import Choice
from temporal_fanout.wire.protocol import RETRY_WORKFLOW, UnknownMessage

_LISTED_TRIES = 50
"""How often visibility is asked for a new workflow, every 0.2 s: it usually has it within a second."""


async def merged(client: Client, listing: Listing) -> AsyncGenerator[Row, None]:
    """The rows of a listing, each with the last outcome that its item had: of the origin, or of a retry, or of theirs.

    What was retried and not yet started keeps the outcome it had. A compensation is no retry: it leaves outcomes as
    they are. In constant memory, for each retry. Raises as `Listing.rows`.
    """
    retries: list[_Retry] | None = None
    try:
        async for row in listing.rows():
            if retries is None:
                retries = await _retries(client, listing.workflow_id, listing.runs[0])
            item = row.item
            for one in retries:
                if one.choice.takes(row):
                    _check_named(row)
                    last = await one.next()
                    if last is not None and last.outcome is not Outcome.NOT_STARTED:
                        item = replace(last, index=row.item.index, inputs=row.item.inputs)
            yield row if item is row.item else replace(row, item=item)
    finally:
        for one in retries or ():
            await one.close()


async def until_listed(client: Client, workflow_id: str) -> None:
    """Waits until visibility has a workflow that was just started, so that `merged` finds it; not for ever."""
    for _ in range(_LISTED_TRIES):
        if (await client.count_workflows(f'WorkflowId = "{_quoted(workflow_id)}"')).count:
            return
        await asyncio.sleep(0.2)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


class _Retry:
    """A retry of the workflow that is being listed; its items come in the order of those that it took."""

    def __init__(self, client: Client, id: str, run_id: str, choice: Choice, started_at: float) -> None:
        self.choice = choice
        self.started_at = started_at
        self._rows = merged(client, Listing(client, id, run_id))
        self._taken = 0
        self._ahead: Row | None = None
        self._is_over = False

    async def next(self) -> ItemOutcome | None:
        """What became of the next item that it took; none where it has not come to it."""
        number, self._taken = self._taken, self._taken + 1
        while not self._is_over and (self._ahead is None or self._ahead.index < number):
            self._ahead = await anext(self._rows, None)
            if self._ahead is not None:
                _check_named(self._ahead)
            self._is_over = self._ahead is None
        return self._ahead.item if self._ahead is not None and self._ahead.index == number else None

    async def close(self) -> None:
        await self._rows.aclose()


async def _retries(client: Client, workflow_id: str, run_id: str) -> list[_Retry]:
    """The retries of the chain of runs that begins with this one, the first started first."""
    query = f'WorkflowType = "{RETRY_WORKFLOW}" AND WorkflowId STARTS_WITH "{_quoted(workflow_id)}.retry-"'
    is_own = re.compile(re.escape(workflow_id) + r"\.retry-[0-9a-f]{10}")
    found = []
    async for run in client.list_workflows(query):
        if is_own.fullmatch(run.id) and run.run_id:
            started = await read_started(client, run.id, run.run_id)
            choice = await _choice_of(client, run.id, started.input.payloads)
            if choice.first_run == run_id and not choice.is_compensation:
                found.append(_Retry(client, run.id, run.run_id, choice, run.start_time.timestamp()))
    return sorted(found, key=lambda one: one.started_at)


async def _choice_of(client: Client, id: str, inputs: Sequence[Payload]) -> Choice:
    try:
        [choice] = await decoded(client, inputs[:1])
        return Choice.from_payload(choice)
    except (InvalidInput, UnknownMessage) as error:
        raise InvalidInput(f"{id}: what this retry was told cannot be read: {error}") from None


def _check_named(row: Row) -> None:
    if row.item.is_unnamed:
        raise InvalidInput(
            f"{row.item.parent_id}: the history of this shard is gone, and its result does not say which item is "
            f"{row.item.outcome}: list the run and its retries one by one, without --merged"
        )
