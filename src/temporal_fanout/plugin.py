"""`FanOutPlugin`: what a worker needs so that its workflows can call `fan_out`."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from typing import Any

from temporalio import workflow
from temporalio.exceptions import is_cancelled_exception
from temporalio.plugin import SimplePlugin
from temporalio.runtime import Runtime
from temporalio.worker import (
    ExecuteWorkflowInput,
    Interceptor,
    WorkerConfig,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_fanout.engine import telemetry
from temporal_fanout.engine.control import Control
from temporal_fanout.engine.shard import FanOutShard
from temporal_fanout.metrics import NO_SCENARIO, RECORDER, Recorder, Run
from temporal_fanout.results import Outcome
from temporal_fanout.retries.source import HistorySource
from temporal_fanout.retries.workflow import FanOutRetry
from temporal_fanout.sources.files import FileSource
from temporal_fanout.wire.protocol import SHARD_WORKFLOW
from temporal_fanout.wire.starts import name_of


@dataclasses.dataclass(frozen=True)
class Expected:
    """A fan-out that a worker will make: its metrics are there, at 0, from the worker's start.

    `parent` is the workflow that calls `fan_out`, `work` what it fans out over; each a class, a function or a name.
    """

    parent: Any
    work: Any
    scenario: str = NO_SCENARIO


class FanOutPlugin(SimplePlugin):
    """Registers the workflows of shards and retries, and the sources; lets the sandbox share this package; and counts.

    `source_roots` are the addresses below which `Source.file` may read, as `/data` or `s3://bucket/exports`: a source
    is named by whoever starts a workflow, so without a root it may read nothing. The metrics (docs/metrics.md) go
    where the metrics of the client's `Runtime` go; those of `expected` fan-outs are there from the start, so that the
    first failure is seen as one.

        Worker(client, task_queue="invoices", workflows=[Nightly, Invoice], plugins=[FanOutPlugin()])
    """

    def __init__(self, source_roots: Sequence[str] = (), expected: Sequence[Expected] = ()) -> None:
        self._expected = [(name_of(one.parent), name_of(one.work), one.scenario) for one in expected]
        super().__init__(
            "temporal-fanout",
            workflows=[FanOutShard, FanOutRetry],
            activities=[FileSource(source_roots).read_file, HistorySource().read],
            workflow_runner=_pass_through,
        )

    def configure_worker(self, config: WorkerConfig) -> WorkerConfig:
        config = super().configure_worker(config)
        client = config["client"]
        recorder = Recorder((client.service_client.config.runtime or Runtime.default()).metric_meter)
        for parent, work, scenario in self._expected:
            run = Run(client.namespace, config["task_queue"], parent, scenario)
            recorder.run(run)
            recorder.items(run, work)
        config["interceptors"] = [*(config.get("interceptors") or ()), _Counting(recorder)]
        return config


def _pass_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    runner = runner or SandboxedWorkflowRunner()
    if isinstance(runner, SandboxedWorkflowRunner):
        restrictions = runner.restrictions.with_passthrough_modules("temporal_fanout")
        runner = dataclasses.replace(runner, restrictions=restrictions)
    return runner


class _Counting(Interceptor):
    """Gives workflows the recorder, by which `fan_out` also sees that its worker has the plugin."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        input.unsafe_extern_functions[RECORDER] = lambda: self._recorder
        return _Run


class _Run(WorkflowInboundInterceptor):
    """Tells of the end of a run: of a workflow that has fanned out and is no shard."""

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:
        try:
            result = await super().execute_workflow(input)
        except workflow.ContinueAsNewError:
            raise
        except (Exception, asyncio.CancelledError) as error:
            if is_cancelled_exception(error):
                self._finished(Outcome.CANCELLED)
            elif workflow.is_failure_exception(error):  # others are tried again
                self._finished(Outcome.FAILED)
            raise
        self._finished(Outcome.COMPLETED)
        return result

    def _finished(self, outcome: Outcome) -> None:
        if Control.is_there() and workflow.info().workflow_type != SHARD_WORKFLOW:
            telemetry.run_finished(outcome)
