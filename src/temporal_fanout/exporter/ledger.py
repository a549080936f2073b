"""What the exporter has counted of closed runs, and which runs those are: each is counted once, also over a restart."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from temporal_fanout.checks import InvalidInput
from temporal_fanout.metrics import OTHER
from temporal_fanout.results import Outcome

LOOK_BACK_SECONDS = 3600.0
"""How far behind the newest closing that it shows visibility may show another: it is eventually consistent."""
MAX_PAIRS = 200
"""Combinations of parent type and child type, at most: further child types are counted as `other`."""

_VERSION = 1


@dataclass(frozen=True)
class ClosedRun:
    """A closed run, as visibility shows it."""

    workflow_id: str
    run_id: str
    parent_type: str
    closed_at: float
    """In seconds since 1970."""
    outcome: Outcome | None
    """None: continued as new."""
    task_queue: str = ""


@dataclass
class _Watch:
    """How far the runs of one parent type are counted."""

    since: float = 0.0
    """Runs that closed earlier are all counted, or kept for later."""
    counted: dict[str, float] = field(default_factory=dict)
    """Those that closed later and are counted: when, by run id."""


class Ledger:
    """Counts by parent type, child type and outcome. `load` and `save` keep them in a file."""

    def __init__(self, namespace: str) -> None:
        self.namespace = namespace
        self.items: Counter[tuple[str, str, Outcome]] = Counter()
        self.runs: Counter[tuple[str, Outcome]] = Counter()
        self.unread: Counter[str] = Counter()
        self.pairs: dict[tuple[str, str], None] = {}
        """The combinations of parent type and child type that were met, in that order."""
        self.open_ended: dict[str, ClosedRun] = {}
        """Closed runs with children that had not ended when they were read: to be read again."""
        self.is_whole = False
        """Whether every closed run that visibility showed has been counted, or kept for later."""
        self._watches: dict[str, _Watch] = {}

    # -- which runs are counted

    def starts(self, parent_types: Iterable[str]) -> dict[float, list[str]]:
        """From when on closed runs are to be looked at, with the parent types of which that holds."""
        starts: dict[float, list[str]] = {}
        for parent_type in parent_types:
            starts.setdefault(self._watches.get(parent_type, _Watch()).since, []).append(parent_type)
        return starts

    def is_new(self, run: ClosedRun) -> bool:
        """Whether a run is neither counted nor kept for later."""
        watch = self._watches.get(run.parent_type, _Watch())
        return run.closed_at >= watch.since and run.run_id not in watch.counted and run.run_id not in self.open_ended

    def count(self, run: ClosedRun, items: Mapping[tuple[str, Outcome], int], outcome: Outcome | None) -> None:
        """Counts a run by its outcome, or no run where it is none, and its items by child type and outcome."""
        for (child_type, item_outcome), n in items.items():
            parent_type, child_type = self.meet(run.parent_type, child_type)
            self.items[parent_type, child_type, item_outcome] += n
        if outcome is not None:
            self.runs[run.parent_type, outcome] += 1
        self._done(run)

    def count_unread(self, run: ClosedRun) -> None:
        """Counts a run of which there is no history."""
        self.unread[run.parent_type] += 1
        if run.outcome is not None:
            self.runs[run.parent_type, run.outcome] += 1
        self._done(run)

    def keep(self, run: ClosedRun) -> None:
        """Keeps a run for later."""
        self.open_ended[run.run_id] = run

    def meet(self, parent_type: str, child_type: str) -> tuple[str, str]:
        """The labels of a combination, from now on one of the `pairs`."""
        pair = (parent_type, child_type)
        if pair not in self.pairs and len(self.pairs) >= MAX_PAIRS:
            pair = (parent_type, OTHER)
        self.pairs[pair] = None
        return pair

    def close(self, parent_types: Iterable[str], newest: float) -> None:
        """Ends a sweep that has seen all runs of these types, of which the newest closed then."""
        self.is_whole = True
        for parent_type in parent_types:
            watch = self._watches.setdefault(parent_type, _Watch())
            watch.since = max(watch.since, newest - LOOK_BACK_SECONDS)
            watch.counted = {run_id: at for run_id, at in watch.counted.items() if at >= watch.since}

    def _done(self, run: ClosedRun) -> None:
        self.open_ended.pop(run.run_id, None)
        self._watches.setdefault(run.parent_type, _Watch()).counted[run.run_id] = run.closed_at

    # -- the file

    def save(self, path: Path) -> None:
        """Writes the state so that the file is at any moment the old one or the new one, whole. Raises `OSError`."""
        state = {
            "version": _VERSION,
            "namespace": self.namespace,
            "items": [[*key, n] for key, n in self.items.items()],
            "runs": [[*key, n] for key, n in self.runs.items()],
            "unread": dict(self.unread),
            "pairs": list(self.pairs),
            "open_ended": [asdict(run) for run in self.open_ended.values()],
            "watches": {parent_type: asdict(watch) for parent_type, watch in self._watches.items()},
        }
        with _new(path).open("w") as file:
            json.dump(state, file, separators=(",", ":"))
            file.flush()
            os.fsync(file.fileno())
        _new(path).replace(path)

    @classmethod
    def load(cls, path: Path, namespace: str) -> Ledger:
        """The state as it was saved; an empty one where there is no file. Raises `InvalidInput` for one of no use."""
        ledger = cls(namespace)
        try:
            _new(path).touch()
            _new(path).unlink()
            state = json.loads(path.read_text()) if path.exists() else None
        except OSError as error:
            raise InvalidInput(f"--state: {path} cannot be used: {error.strerror}") from None
        except ValueError as error:
            raise InvalidInput(f"--state: {path} is not JSON: {error}") from None
        if state is None:
            return ledger
        try:
            if state["version"] != _VERSION:
                raise InvalidInput(f"--state: {path} is of version {state['version']}, not {_VERSION}")
            if state["namespace"] != namespace:
                raise InvalidInput(f"--state: {path} is of the namespace {state['namespace']}, not {namespace}")
            ledger._restore(state)
        except (TypeError, KeyError, ValueError):
            raise InvalidInput(f"--state: {path} is no state of an exporter") from None
        return ledger

    def _restore(self, state: dict[str, Any]) -> None:
        self.items.update({(parent, child, Outcome(outcome)): n for parent, child, outcome, n in state["items"]})
        self.runs.update({(parent, Outcome(outcome)): n for parent, outcome, n in state["runs"]})
        self.unread.update(state["unread"])
        self.pairs = dict.fromkeys((parent, child) for parent, child in state["pairs"])
        for given in state["open_ended"]:
            outcome = given.pop("outcome")
            run = ClosedRun(**given, outcome=None if outcome is None else Outcome(outcome))
            self.open_ended[run.run_id] = run
        self._watches = {parent_type: _Watch(**watch) for parent_type, watch in state["watches"].items()}
        self.is_whole = True


def _new(path: Path) -> Path:
    return path.with_name(path.name + ".new")
