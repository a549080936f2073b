"""What a fan-out tells an operator while it runs: metrics, and one line for each failed item. Never during replay."""

from __future__ import annotations

from typing import Any

from temporalio import workflow

from temporal_fanout.metrics import NO_SCENARIO, OTHER, RECORDER, SCENARIO_MEMO, Recorder, Run
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.starts import RECORDED

_SCENARIO_CHARACTERS = 63


class Teller:
    """Tells of one fan-out of one workflow, once for each item however often a workflow task is tried in a process.

    `origin` is that of the run, which its shards are given; `start` is the index of the first item.
    """

    def __init__(self, work: str, name: str, origin: dict[str, str], start: int) -> None:
        self._start = start
        self._recorder = _recorder()
        if self._recorder is not None:
            run = _run(origin)
            self._run = self._recorder.run(run)
            self._items = self._recorder.items(run, work.removeprefix(RECORDED))
            self._seen = self._recorder.seen(workflow.info().run_id, name)

    def started(self, index: int) -> None:
        bit = 1 << (index - self._start)
        if self._tells() and not self._seen.started & bit:
            self._seen.started |= bit
            self._items.started()

    def finished(self, index: int, id: str, ended: Ended, seconds: float) -> None:
        bit = 1 << (index - self._start)
        if not self._tells() or self._seen.finished & bit:
            return
        self._seen.finished |= bit
        self._items.finished(ended.outcome, seconds)
        if ended.outcome is not Outcome.COMPLETED:
            workflow.logger.warning("item did not complete", extra=_fields(index, id, ended))

    def held(self, index: int, id: str, ended: Ended) -> None:
        if self._tells():
            workflow.logger.warning("item is held", extra=_fields(index, id, ended))

    def breached(self, message: str) -> None:
        if self._tells() and not self._seen.ended:
            self._seen.ended = True
            self._run.breached()
            workflow.logger.error("tolerance exceeded", extra={"error": message})

    def _tells(self) -> bool:
        return self._recorder is not None and not workflow.unsafe.is_replaying()


def _fields(index: int, id: str, ended: Ended) -> dict[str, Any]:
    fields = {"item_index": index, "child_id": id, "outcome": str(ended.outcome)}
    return fields | {"error_type": ended.type, "error": ended.error}


def origin() -> dict[str, str]:
    """What a run's shards are told of it, for their labels: its type, and its scenario."""
    scenario: Any
    try:
        scenario = workflow.memo_value(SCENARIO_MEMO, NO_SCENARIO)
    except Exception:  # a memo is written by whoever starts the run: undecodable, it must not stop it
        scenario = None
    if not isinstance(scenario, str) or not 0 < len(scenario) <= _SCENARIO_CHARACTERS:
        scenario = OTHER
    return {"parent_type": workflow.info().workflow_type, "scenario": scenario}


def run_finished(outcome: Outcome) -> None:
    """Tells of the end of the run that is executing."""
    recorder = _recorder()
    if recorder is None or workflow.unsafe.is_replaying():
        return
    seen = recorder.seen(workflow.info().run_id, "\0run")
    if not seen.ended:
        seen.ended = True
        recorder.run(_run(origin())).finished(outcome)


def _recorder() -> Recorder | None:
    get = workflow.extern_functions().get(RECORDER)
    return None if get is None else get()


def _run(origin: dict[str, str]) -> Run:
    info = workflow.info()
    return Run(info.namespace, info.task_queue, origin["parent_type"], origin["scenario"])
