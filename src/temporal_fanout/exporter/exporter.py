"""The exporter: counts what became of the items of closed runs, read from their histories, and watches the open ones.

Counters are exact however many workers died. A closed run is found by visibility, read once, and counted once. A run
that is continued as new, or tried again, is counted as a run when the last of its chain has closed, and its items as
each part closes. One whose children outlive it, which takes a moment where they are terminated with it and longer where
they are abandoned, is counted when the last of them has ended. A run that was reset counts as two.

What is scraped is always the end of a whole sweep. With a state file the counters go on after a restart where they
were. Without one they are counted anew from every closed run that is retained, and not shown before that is done: less
than before where retention has removed some meanwhile, which Prometheus takes for a new beginning.

`fanout_exporter_runs_total` has every outcome of every parent type at 0 from the start. `fanout_exporter_items_total`
has every outcome at 0 for a child type as soon as a run is seen that has started one.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Coroutine, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import Metric
from temporalio.api.enums.v1 import TaskQueueType, WorkflowExecutionStatus
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflow.v1 import WorkflowExecutionInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, ListWorkflowExecutionsRequest
from temporalio.client import Client
from temporalio.service import RPCError

from temporal_fanout.checks import InvalidInput
from temporal_fanout.exporter import exposition
from temporal_fanout.exporter.ledger import LOOK_BACK_SECONDS, ClosedRun, Ledger
from temporal_fanout.exporter.open_runs import OpenRun
from temporal_fanout.histories.events import HistoryGone
from temporal_fanout.histories.run import RunHistory
from temporal_fanout.operations.connect import connect, settings
from temporal_fanout.process.exit import on_signals, unless
from temporal_fanout.process.health import serve
from temporal_fanout.results import Outcome

logger = logging.getLogger(__name__)

INTERVAL_SECONDS = 15.0
"""From the end of a sweep to the start of the next."""
LIST_SECONDS = 0.25
"""Between two requests of visibility, at least: the server allows ten a second for the whole namespace."""
MAX_QUEUES = 50
"""Task queues that are described, at most, beside those that were given."""
_RUNS_AT_ONCE = 4
_ASKED_AT_ONCE = 8
_READING_SHARE = 20
"""Runs that have closed and not settled are read again for one part in so many of the time, at most."""
_PAGE = 1000
_RPC = timedelta(seconds=20)

_OUTCOMES: dict[int, Outcome] = {
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_COMPLETED: Outcome.COMPLETED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_FAILED: Outcome.FAILED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_CANCELED: Outcome.CANCELLED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TERMINATED: Outcome.TERMINATED,
    WorkflowExecutionStatus.WORKFLOW_EXECUTION_STATUS_TIMED_OUT: Outcome.TIMED_OUT,
}
_QUEUE_TYPES = {
    "workflow": TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,
    "activity": TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,
}


async def run_exporter(
    parent_types: Sequence[str],
    task_queues: Sequence[str],
    interval: float,
    state: Path | None,
    port: int,
) -> None:
    """Sweeps and serves until SIGTERM or SIGINT, and waits for the server as long as it takes.

    Raises `InvalidInput` for settings, a state or a port that cannot be used.
    """
    stop = on_signals()
    exporter = Exporter(settings()["namespace"], parent_types, task_queues, state)

    async def sweep() -> None:
        await exporter.run(await connect(None, logger.warning), interval)

    async with serve(port, exporter.metrics, exporter.ready) as bound:
        logger.info("serving /metrics, /livez and /readyz", extra={"port": bound, "parent_types": list(parent_types)})
        await unless(stop, sweep())  # what it has not saved, the next one reads again
    logger.info("exporter stopped")


class Exporter:
    """Sweeps a namespace for runs of some parent types, and shows what it found. There is to be one for a namespace."""

    def __init__(
        self, namespace: str, parent_types: Sequence[str], task_queues: Sequence[str] = (), state: Path | None = None
    ) -> None:
        """Raises `InvalidInput` for a parent type that cannot be, and a state file that cannot be used."""
        for parent_type in parent_types:
            if not parent_type.strip() or '"' in parent_type or "\\" in parent_type:
                raise InvalidInput(f"--parent-type: must be the type of a workflow, not {parent_type!r:.60}")
        self._parent_types = list(dict.fromkeys(parent_types))
        self._task_queues = list(dict.fromkeys(task_queues))
        self._state = state
        self._ledger = Ledger(namespace) if state is None else Ledger.load(state, namespace)
        self._shown = exposition.counters(self._ledger, self._parent_types) if self._ledger.is_whole else []
        self._open: dict[str, OpenRun] = {}
        self._queues_seen: dict[str, float] = {}
        self._read_at: dict[str, float] = {}
        self._listed_at = 0.0
        self._errors = 0
        self._swept_at = 0.0
        self._trouble = "waiting for the Temporal server"
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def metrics(self) -> bytes:
        """The text of /metrics; may be called from any thread."""
        return generate_latest(self._registry)

    def collect(self) -> Iterable[Metric]:
        """What `metrics` shows: of the sweeps, and what the last whole one found."""
        return exposition.sweeps(self._ledger.namespace, self._errors, self._swept_at) + self._shown

    def ready(self) -> tuple[bool, str]:
        """Whether the last sweep succeeded; else why not."""
        return not self._trouble, self._trouble or "the last sweep succeeded"

    async def run(self, client: Client, interval: float = INTERVAL_SECONDS) -> None:
        """Sweeps for ever. Of sweeps that fail one after the other each is counted, and the first is logged."""
        self._trouble = "the first sweep has not ended"
        is_failing = False
        while True:
            try:
                await self.sweep(client)
                self._trouble = ""
                if is_failing:
                    logger.info("a sweep succeeded again")
                is_failing = False
            except (RPCError, OSError) as error:
                self._errors += 1
                self._trouble = f"the last sweep failed: {error}"
                if not is_failing:
                    logger.warning("a sweep failed, trying again", extra={"reason": str(error)})
                is_failing = True
            await asyncio.sleep(interval)

    async def sweep(self, client: Client) -> None:
        """Reads what has closed and looks at what is open. Raises `RPCError`, and `OSError` of the state file."""
        await self._count_closed(client)
        await self._look_at_open(client)
        queues = await self._describe_queues(client)
        if self._state is not None:
            self._ledger.save(self._state)  # before it is shown: what was shown is never taken back
        gauges = exposition.gauges(self._ledger.namespace, self._parent_types, self._open.values(), queues)
        self._shown = exposition.counters(self._ledger, self._parent_types) + gauges
        self._swept_at = time.time()

    # -- closed runs

    async def _count_closed(self, client: Client) -> None:
        newest = 0.0
        await _each(_RUNS_AT_ONCE, (self._count(client, run) for run in list(self._ledger.open_ended.values())))
        for since, parent_types in self._ledger.starts(self._parent_types).items():
            from_when = datetime.fromtimestamp(since, UTC).isoformat(timespec="milliseconds")
            async for page in self._list(client, f'{_one_of(parent_types)} AND CloseTime >= "{from_when}"'):
                runs = [_closed_run(info) for info in page]
                newest = max([newest, *(run.closed_at for run in runs)])
                for run in runs:
                    self._see_queue(run.task_queue, run.closed_at)
                await _each(_RUNS_AT_ONCE, (self._count(client, run) for run in runs if self._ledger.is_new(run)))
        self._ledger.close(self._parent_types, newest)

    async def _count(self, client: Client, run: ClosedRun) -> None:
        """Reads a run and counts it, unless something of it may still end: then it is kept for later."""
        began = time.monotonic()
        if began < self._read_at.pop(run.run_id, 0.0):
            return
        history = RunHistory(client, run.workflow_id, run.run_id)
        items: Counter[tuple[str, Outcome]] = Counter()
        try:
            async for item in history.outcomes():
                if item.outcome is not None:
                    items[item.child_type, item.outcome] += 1
                self._see_queue(item.task_queue, run.closed_at)
        except RPCError:
            raise
        except Exception as error:
            if not isinstance(error, HistoryGone):  # one that cannot be read must not keep others from being counted
                extra = {"workflow_id": run.workflow_id, "run_id": run.run_id, "workflow_type": run.parent_type}
                logger.exception("the history of this run cannot be read", extra=extra)
            self._ledger.count_unread(run)
            return
        if history.settled:
            self._ledger.count(run, items, None if history.continued_as else history.outcome)
        else:
            now = time.monotonic()
            self._read_at[run.run_id] = now + _READING_SHARE * (now - began)
            self._ledger.keep(run)

    async def _list(self, client: Client, query: str) -> AsyncIterator[Sequence[WorkflowExecutionInfo]]:
        """What visibility shows, page by page, at a pace that leaves room for others."""
        request = ListWorkflowExecutionsRequest(namespace=client.namespace, page_size=_PAGE, query=query)
        while True:
            await asyncio.sleep(self._listed_at + LIST_SECONDS - time.monotonic())
            self._listed_at = time.monotonic()
            answer = await client.workflow_service.list_workflow_executions(request, retry=True, timeout=_RPC)
            yield answer.executions
            if not answer.next_page_token:
                return
            request.next_page_token = answer.next_page_token

    # -- open runs and task queues

    async def _look_at_open(self, client: Client) -> None:
        listed: dict[str, OpenRun] = {}
        async for page in self._list(client, f'{_one_of(self._parent_types)} AND ExecutionStatus = "Running"'):
            for info in page:
                id, run_id = info.execution.workflow_id, info.execution.run_id
                listed[run_id] = self._open.get(run_id) or OpenRun(id, run_id, info.type.name, info.task_queue)
        self._open = listed
        await _each(_ASKED_AT_ONCE, (run.look(client) for run in listed.values()))
        now = time.time()
        for run in listed.values():
            for queue in (run.task_queue, *run.task_queues):
                self._see_queue(queue, now)
            for child_type in run.child_types:
                self._ledger.meet(run.parent_type, child_type)

    def _see_queue(self, name: str, at: float) -> None:
        if name:
            self._queues_seen[name] = max(at, self._queues_seen.get(name, 0.0))

    async def _describe_queues(self, client: Client) -> dict[tuple[str, str], tuple[int, int]]:
        """Pollers and backlog, by name and type: of the queues given, and of those that runs used within an hour."""
        latest = sorted(self._queues_seen.items(), key=lambda seen: seen[1], reverse=True)[:MAX_QUEUES]
        self._queues_seen = {name: at for name, at in latest if at >= time.time() - LOOK_BACK_SECONDS}
        found: dict[tuple[str, str], tuple[int, int]] = {}

        async def describe(name: str, type: str) -> None:
            request = DescribeTaskQueueRequest(
                namespace=client.namespace,
                task_queue=TaskQueue(name=name),
                task_queue_type=_QUEUE_TYPES[type],
                report_stats=True,
            )
            answer = await client.workflow_service.describe_task_queue(request, retry=True, timeout=_RPC)
            found[name, type] = len(answer.pollers), answer.stats.approximate_backlog_count

        names = dict.fromkeys([*self._task_queues, *self._queues_seen])
        await _each(_ASKED_AT_ONCE, (describe(name, type) for name in names for type in _QUEUE_TYPES))
        return found


def _closed_run(info: WorkflowExecutionInfo) -> ClosedRun:
    return ClosedRun(
        info.execution.workflow_id,
        info.execution.run_id,
        info.type.name,
        info.close_time.ToNanoseconds() / 1e9,
        _OUTCOMES.get(info.status),
        info.task_queue,
    )


def _one_of(parent_types: Sequence[str]) -> str:
    names = ", ".join(f'"{parent_type}"' for parent_type in parent_types)
    return f"WorkflowType IN ({names})"


async def _each(at_once: int, coroutines: Iterable[Coroutine[None, None, None]]) -> None:
    """Awaits all, so many at once; at the first error the others are cancelled, and it is raised."""
    left = iter(coroutines)

    async def work() -> None:
        for coroutine in left:
            await coroutine

    tasks = [asyncio.create_task(work()) for _ in range(at_once)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
