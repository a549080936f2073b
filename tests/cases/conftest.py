"""A worker of the cases, with any data converter."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from temporal_fanout import FanOutPlugin
from tests.cases.converters import with_converter
from tests.cases.workflows import ACTIVITIES, WORKFLOWS
from tests.conftest import Bench

Cases = Callable[..., AbstractAsyncContextManager[Bench]]


@pytest.fixture
def cases(client: Client) -> Cases:
    @contextlib.asynccontextmanager
    async def run(converter: str = "default", **options: Any) -> AsyncIterator[Bench]:
        own, queue = with_converter(client, converter), f"cases-{uuid.uuid4().hex[:12]}"
        async with Worker(
            own,
            task_queue=queue,
            workflows=WORKFLOWS,
            activities=ACTIVITIES,
            plugins=[FanOutPlugin()],
            **options,
        ):
            yield Bench(own, queue)

    return run
