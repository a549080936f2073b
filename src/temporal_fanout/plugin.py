"""`FanOutPlugin`: what a worker needs so that its workflows can call `fan_out`."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from temporalio.plugin import SimplePlugin
from temporalio.worker import (
    Interceptor,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowRunner,
)
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from temporal_fanout.fan_out import PLUGIN_MARK
from temporal_fanout.sources import FileSource
from temporal_fanout.workflows.shard import FanOutShard


class FanOutPlugin(SimplePlugin):
    """Registers the shard workflow and the file source, and lets the sandbox share this package's modules.

    `source_roots` are the addresses below which `Source.file` may read, as `/data` or `s3://bucket/exports`: a source
    is named by whoever starts a workflow, so without a root it may read nothing.

        Worker(client, task_queue="invoices", workflows=[Nightly, Invoice], plugins=[FanOutPlugin()])
    """

    def __init__(self, source_roots: Sequence[str] = ()) -> None:
        super().__init__(
            "temporal-fanout",
            workflows=[FanOutShard],
            activities=[FileSource(source_roots).read_file],
            workflow_runner=_pass_through,
            interceptors=[_Mark()],
        )


def _pass_through(runner: WorkflowRunner | None) -> WorkflowRunner:
    runner = runner or SandboxedWorkflowRunner()
    if isinstance(runner, SandboxedWorkflowRunner):
        restrictions = runner.restrictions.with_passthrough_modules("temporal_fanout")
        runner = dataclasses.replace(runner, restrictions=restrictions)
    return runner


class _Mark(Interceptor):
    """Lets `fan_out` see that its worker has the plugin: without it a shard would wait for ever."""

    def workflow_interceptor_class(
        self, input: WorkflowInterceptorClassInput
    ) -> type[WorkflowInboundInterceptor] | None:
        input.unsafe_extern_functions[PLUGIN_MARK] = lambda: None
        return None
