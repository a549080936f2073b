"""The workflows, in a module of their own."""

from typing import Any

from temporalio import workflow

from temporal_fanout import FanOutOptions, fan_out


@workflow.defn
class Invoice:
    @workflow.run
    async def run(self, customer: str) -> str:
        return f"invoice for {customer}"


@workflow.defn
class Nightly:
    @workflow.run
    async def run(self, customers: list[str]) -> dict[str, Any]:
        result = await fan_out(Invoice.run, customers, FanOutOptions(max_concurrency=200))
        return result.to_dict()
