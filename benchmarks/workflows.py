"""The workflows of the benchmark. Short: the sandbox runs this module anew for every child."""

import asyncio

from temporalio import workflow
from temporalio.exceptions import ApplicationError

from temporal_fanout import Source, fan_out


@workflow.defn(name="BenchChild")
class Child:
    """Returns its input: what is left is the cost of a child."""

    @workflow.run
    async def run(self, value: int) -> int:
        return value


@workflow.defn(name="BenchFlaky")
class Flaky:
    """The same, but fails unless a retry runs it."""

    @workflow.run
    async def run(self, value: int) -> int:
        parent = workflow.info().parent
        if parent is None or ".retry-" not in parent.workflow_id:
            raise ApplicationError("not yet")
        return value


@workflow.defn(name="BenchGather")
class Gather:
    """The fan-out that people write: every child at once."""

    @workflow.run
    async def run(self, count: int) -> dict[str, int]:
        id = workflow.info().workflow_id
        children = [workflow.execute_child_workflow(Child.run, n, id=f"{id}.{n}") for n in range(count)]
        return {"completed": len(await asyncio.gather(*children))}


@workflow.defn(name="BenchFanOut")
class FanOut:
    """`fan_out` with its defaults, over so many numbers or over a file."""

    @workflow.run
    async def run(self, work: str, count: int, file: str | None) -> dict[str, int]:
        result = await fan_out(work, Source.file(file) if file else range(count))
        return {str(outcome): n for outcome, n in result.outcomes.items() if n}
