"""The items of a workflow one by one, through its whole chain of runs, each with a number and a place to go on from."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import asdict, dataclass
from typing import Any

from temporalio.client import Client

from temporal_fanout.histories.events import run_ids
from temporal_fanout.histories.items import ItemOutcome
from temporal_fanout.histories.run import READ_AHEAD, Place, RunHistory
from temporal_fanout.results import Outcome


@dataclass(frozen=True, slots=True)
class Mark:
    """Where in a chain of runs an item stands; reading goes on from there without what comes before."""

    run_id: str
    place: Place = ()
    unplaced: int = 0
    """How many items before it belong to no fan-out."""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self) | {"place": list(self.place)}

    @classmethod
    def from_dict(cls, given: dict[str, Any]) -> Mark:
        return cls(given["run_id"], tuple(given["place"]), given["unplaced"])

    def after(self, row: Row) -> Mark:
        """The mark of what follows the row of this mark, whatever that is."""
        place = (*self.place[:-1], self.place[-1] + 1)
        return Mark(self.run_id, place, self.unplaced + (row.item.index is None))


@dataclass(frozen=True, slots=True)
class Row:
    """An item, with what tells it from the others."""

    index: int
    """Its place in its fan-out; of what belongs to none, its number among those of the whole chain. Both from 0.

    Of an item that is unnamed it means nothing.
    """
    item: ItemOutcome
    mark: Mark


class Listing:
    """A workflow's items: first its `rows`, to their end; then the attributes say what was read."""

    def __init__(
        self, client: Client, workflow_id: str, run_id: str | None = None, last_run: str | None = None
    ) -> None:
        """As `outcomes` reads them: without `run_id`, of the newest run and all that it continues.

        `last_run` is the run after which to stop, though another continues it.
        """
        self.workflow_id = workflow_id
        self.runs: list[str] = [run_id] if run_id else []
        """Those that were read, and while reading also those to be read, the first of the chain first."""
        self.closed = True
        """Whether the last run is closed."""
        self.outcome: Outcome | None = None
        """How the last run closed."""
        self.settled = True
        """Whether nothing that was read may still end."""
        self.rest_known = True
        """False where nothing says how many items the last run would have had."""
        self.waiting = 0
        """Items that may yet be started, as far as they are known."""
        self.lost_shards = 0
        """Shards whose histories are gone."""
        self.lost_items = 0
        """Items of those: they are known from results only."""
        self._client = client
        self._last_run = last_run

    async def rows(self, start: Mark | None = None, ahead: int = READ_AHEAD) -> AsyncGenerator[Row, None]:
        """The items, from the mark on. Raises `HistoryGone`, and `RPCError` when the server does not answer."""
        if start is not None:
            self.runs = [start.run_id]
        elif not self.runs:
            self.runs = await run_ids(self._client, self.workflow_id)
        place, unplaced = (start.place, start.unplaced) if start else ((), 0)
        for run_id in self.runs:  # grows while it is read
            run = RunHistory(self._client, self.workflow_id, run_id)
            async with contextlib.aclosing(run.places(place, ahead)) as places:
                async for at, item in places:
                    index = unplaced if item.index is None else item.index
                    yield Row(index, item, Mark(run_id, at, unplaced))
                    unplaced += item.index is None
            place = ()
            self.closed, self.outcome, self.rest_known = run.closed, run.outcome, run.rest_known
            self.settled = self.settled and run.settled
            self.waiting += run.waiting
            self.lost_shards += run.lost_shards
            self.lost_items += run.lost_items
            if run.continued_as and run_id == self.runs[-1] and run_id != self._last_run:
                self.runs.append(run.continued_as)
