"""The worker: finds Temporal by its own settings, serves /metrics, and drains when its pod is to stop."""

import asyncio
import os
import signal
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.runtime import Runtime, TelemetryConfig
from temporalio.worker import Worker

from invoices.activities import deliver
from invoices.workflows import Invoice, Nightly
from temporal_fanout import FanOutPlugin
from temporal_fanout.lab.workflows.parent import ParentWorkflow
from temporal_fanout.metrics import prometheus
from temporal_fanout.process.exit import end


async def main() -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    metrics = prometheus(f"0.0.0.0:{os.environ['FANOUT_METRICS_PORT']}")
    runtime = Runtime(telemetry=TelemetryConfig(metrics=metrics))
    client = await Client.connect(**ClientConfig.load_client_connect_config(), runtime=runtime)
    async with Worker(
        client,
        task_queue=os.environ["FANOUT_TASK_QUEUE"],
        workflows=[Nightly, Invoice, ParentWorkflow],  # the last for scenarios without a workflow of their own
        activities=[deliver],
        plugins=[FanOutPlugin()],
        max_concurrent_activities=int(os.environ["FANOUT_MAX_CONCURRENT_ACTIVITIES"]),
        max_cached_workflows=int(os.environ["FANOUT_MAX_CACHED_WORKFLOWS"]),
        graceful_shutdown_timeout=timedelta(seconds=float(os.environ["FANOUT_GRACEFUL_TIMEOUT"])),
    ):
        await stop.wait()


if __name__ == "__main__":
    asyncio.run(main())
    end(0)  # not the interpreter's own way out, which crashes now and then after a Temporal client
