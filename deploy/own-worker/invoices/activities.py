"""The activities: what touches the world outside."""

import asyncio

from temporalio import activity


@activity.defn
async def deliver(customer: str, seconds: int = 1) -> str:
    """Stands for a call that takes its time. It heartbeats, so that a worker that is killed is missed soon."""
    for _ in range(seconds):
        activity.heartbeat()
        await asyncio.sleep(1)
    return f"delivered to {customer}"
