"""Names, sizes and forms that the server or the SDK refuses: without a check each hangs or terminates the parent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client

from tests import workflows as w
from tests.conftest import Bench, working

LONG = "x" * 1001


@pytest.fixture(scope="module")
async def bench(client: Client) -> AsyncIterator[Bench]:
    async with working(client) as bench:
        yield bench


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"task_queue": "/_sys/queue"}, "task_queue: must not begin with /_sys/"),
        ({"task_queue": LONG}, "task_queue: must take at most 1000 bytes"),
        ({"task_queue": "я" * 501}, "task_queue: must take at most 1000 bytes"),
        ({"task_queue": "\ud800"}, "task_queue: must be Unicode text"),
        ({"search_attributes": {"Customer": "x" * 2047}}, "search_attributes.Customer: must take at most 2048 bytes"),
        ({"search_attributes": {"Customer": "я" * 400}}, "search_attributes.Customer: must take at most 2048 bytes"),
        ({"search_attributes": {"Tags": ["x" * 1000] * 3}}, "search_attributes.Tags: must take at most 2048 bytes"),
        ({"search_attributes": {"Customer": float("inf")}}, "search_attributes.Customer: must be a finite number"),
        ({"search_attributes": {"Customer": 2**63}}, "search_attributes.Customer: must be a whole number of 64 bits"),
        ({"search_attributes": {"WorkflowId": "x"}}, "search_attributes.WorkflowId: must be an attribute"),
        ({"search_attributes": {"\ud800": "x"}}, r"search_attributes.\ud800: must be Unicode text"),
        ({"memo": {"\ud800": "x"}}, r"memo.\ud800: must be Unicode text"),
        ({"memo": {"doc": "x" * 1_100_000}}, "memo.doc: takes 1.0 MiB, over 1"),
        ({"retry": {"maximum_attempts": 2**31}}, "retry.maximum_attempts: must be a whole number from 0 to 2147483647"),
        ({"retry": {"backoff_coefficient": float("nan")}}, "retry.backoff_coefficient: must be a number"),
        ({"retry": {"maximum_interval": -1}}, "retry.maximum_interval: must be a number"),
        (
            {"retry": {"non_retryable_error_types": ["TemporalTimeout:x"]}},
            "retry.non_retryable_error_types[0]: must end with StartToClose",
        ),
        ({"timeout": 10**400}, "timeout: must be a number"),
        ({"max_concurrency": 2**31}, "max_concurrency: must be a whole number from 1 to 2147483647"),
        ({"starts_per_second": 0.00001}, "starts_per_second: must be a number of at least 0.0001"),
    ],
)
async def test_an_option_that_the_server_refuses_is_bad_input(
    bench: Bench, options: dict[str, Any], message: str
) -> None:
    """The parent fails as InvalidInput, in a sentence that starts with the option, before it starts anything."""
    error = await bench.error(w.Anything.run, "Echo", [1, 2, 3], options | {"shard_size": 2})
    assert (error.type, error.message[: len(message)]) == ("InvalidInput", message)


@pytest.mark.parametrize(
    ("work", "message"),
    [
        (LONG, "work: must take at most 1000 bytes"),
        ("activity:" + "я" * 501, "work: must take at most 1000 bytes"),
        ("__temporal_x", "work: must not begin with __temporal_"),
        ("\ud800", "work: must be Unicode text"),
    ],
)
async def test_a_name_of_work_that_the_server_refuses_is_bad_input(bench: Bench, work: str, message: str) -> None:
    """So is the type of the workflow or of the activity that runs the items."""
    error = await bench.error(w.Anything.run, work, [1], {})
    assert (error.type, error.message[: len(message)]) == ("InvalidInput", message)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"activity": "numbers", "task_queue": "/_sys/queue"}, "source.task_queue: must not begin with /_sys/"),
        ({"activity": "numbers", "task_queue": LONG}, "source.task_queue: must take at most 1000 bytes"),
        ({"activity": LONG}, "source.activity: must take at most 1000 bytes"),
        ({"activity": "numbers", "args": 5}, "source.args: must be an array"),
        ({"activity": "numbers", "timeout": 1e400}, "source.timeout: must be a number"),
    ],
)
async def test_a_source_that_the_server_refuses_is_bad_input(
    bench: Bench, source: dict[str, Any], message: str
) -> None:
    """So are the names and the form of a source."""
    error = await bench.error(w.Anything.run, "Echo", source, {})
    assert (error.type, error.message[: len(message)]) == ("InvalidInput", message)


async def test_a_memo_that_cannot_be_encoded_is_bad_input(bench: Bench) -> None:
    """The memo's key is named, where the SDK would fail the workflow task for ever."""
    error = await bench.error(w.BadMemo.run)
    assert (error.type, error.message[:28]) == ("InvalidInput", "memo.when: cannot be encoded")


async def test_a_limit_that_children_do_not_have_is_bad_input(bench: Bench) -> None:
    """A child waits for a worker within its timeout."""
    error = await bench.error("Anything", "Echo", [1], {"start_timeout": 5})
    assert (error.type, error.message[:28]) == ("InvalidInput", "start_timeout: is for activi")
