"""Options, sources and results: what they take, what they refuse, and their JSON form."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from temporalio.common import RetryPolicy

from temporal_fanout import Failure, FanOutOptions, FanOutResult, InvalidInput, Outcome, Source
from temporal_fanout.results import Completed


@pytest.mark.parametrize(
    ("given", "field"),
    [
        ({"max_concurrency": 0}, "max_concurrency"),
        ({"max_concurrency": True}, "max_concurrency"),
        ({"max_concurrency": 2.0}, "max_concurrency"),
        ({"shard_size": 0}, "shard_size"),
        ({"shard_size": 301}, "shard_size"),
        ({"starts_per_second": 0}, "starts_per_second"),
        ({"starts_per_second": float("inf")}, "starts_per_second"),
        ({"timeout": -1}, "timeout"),
        ({"timeout": None}, "timeout"),
        ({"retry": "often"}, "retry"),
        ({"retry": {"maximum_attempts": -1}}, "retry.maximum_attempts"),
        ({"retry": {"attempts": 3}}, "retry.attempts"),
        ({"retry": {"initial_interval": 5, "maximum_interval": 1}}, "retry.maximum_interval"),
        ({"retry": {"backoff_coefficient": 0.5}}, "retry.backoff_coefficient"),
        ({"retry": {"non_retryable_error_types": "A"}}, "retry.non_retryable_error_types"),
        ({"task_queue": " "}, "task_queue"),
        ({"args": "text"}, "args"),
        ({"name": "s12"}, "name"),
        ({"name": "a.b"}, "name"),
        ({"search_attributes": {"Customer": None}}, "search_attributes.Customer"),
        ({"memo": []}, "memo"),
        ({"priority": 6}, "priority"),
        ({"parent_close_policy": "KEEP"}, "parent_close_policy"),
        ({"tolerated_failure_count": -1}, "tolerated_failure_count"),
        ({"tolerated_failure_ratio": 1.1}, "tolerated_failure_ratio"),
        ({"max_result_bytes": 2 * 1024**2}, "max_result_bytes"),
        ({"heartbeat_timeout": 0}, "heartbeat_timeout"),
        ({"timeout": 60, "attempt_timeout": 61}, "attempt_timeout"),
        ({"timeout": 60, "start_timeout": 60.5}, "start_timeout"),
        ({"max_concurrency": 2**31}, "max_concurrency"),
        ({"max_concurrency": 10**5000}, "max_concurrency"),
        ({"starts_per_second": 0.00009}, "starts_per_second"),
        ({"starts_per_second": 10**400}, "starts_per_second"),
        ({"starts_per_second": float("nan")}, "starts_per_second"),
        ({"timeout": 10**400}, "timeout"),
        ({"timeout": float("inf")}, "timeout"),
        ({"timeout": 0.0001}, "timeout"),
        ({"timeout": timedelta.max}, "timeout"),
        ({"heartbeat_timeout": float("nan")}, "heartbeat_timeout"),
        ({"retry": {"maximum_attempts": 2**31}}, "retry.maximum_attempts"),
        ({"retry": {"initial_interval": None}}, "retry.initial_interval"),
        ({"retry": {"initial_interval": float("inf")}}, "retry.initial_interval"),
        ({"retry": {"maximum_interval": 0}}, "retry.maximum_interval"),
        ({"retry": {"maximum_interval": 1e12}}, "retry.maximum_interval"),
        ({"retry": {"backoff_coefficient": float("inf")}}, "retry.backoff_coefficient"),
        ({"retry": {"backoff_coefficient": float("nan")}}, "retry.backoff_coefficient"),
        ({"retry": {"backoff_coefficient": 10**400}}, "retry.backoff_coefficient"),
        ({"retry": {"non_retryable_error_types": [5]}}, "retry.non_retryable_error_types"),
        ({"retry": {"non_retryable_error_types": ["x" * 4097]}}, "retry.non_retryable_error_types"),
        ({"retry": {"non_retryable_error_types": ["A", "\ud800"]}}, "retry.non_retryable_error_types[1]"),
        ({"retry": {"non_retryable_error_types": ["TemporalTimeout:Late"]}}, "retry.non_retryable_error_types[0]"),
        ({"retry": RetryPolicy(initial_interval="1s")}, "retry.initial_interval"),  # type: ignore[arg-type]
        ({"retry": RetryPolicy(maximum_interval=timedelta(0))}, "retry.maximum_interval"),
        ({"task_queue": 5}, "task_queue"),
        ({"task_queue": "/_sys/queue"}, "task_queue"),
        ({"task_queue": "x" * 1001}, "task_queue"),
        ({"task_queue": "я" * 501}, "task_queue"),
        ({"task_queue": "\ud800"}, "task_queue"),
        ({"args": b"bytes"}, "args"),
        ({"name": "x" * 65}, "name"),
        ({"name": "f2"}, "name"),
        ({"name": "é"}, "name"),
        ({"name": "a\n"}, "name"),
        ({"search_attributes": {"Customer": "x" * 2047}}, "search_attributes.Customer"),
        ({"search_attributes": {"Customer": "я" * 342}}, "search_attributes.Customer"),
        ({"search_attributes": {"Tags": ["x" * 1000] * 3}}, "search_attributes.Tags"),
        ({"search_attributes": {"Tags": [1]}}, "search_attributes.Tags"),
        ({"search_attributes": {"Amount": float("nan")}}, "search_attributes.Amount"),
        ({"search_attributes": {"Amount": -float("inf")}}, "search_attributes.Amount"),
        ({"search_attributes": {"Count": 2**63}}, "search_attributes.Count"),
        ({"search_attributes": {"Count": -(2**63) - 1}}, "search_attributes.Count"),
        ({"search_attributes": {"Count": 10**5000}}, "search_attributes.Count"),
        ({"search_attributes": {"": "x"}}, "search_attributes."),
        ({"search_attributes": {"WorkflowId": "x"}}, "search_attributes.WorkflowId"),
        ({"search_attributes": {"\ud800": "x"}}, "search_attributes.\\ud800"),
        ({"search_attributes": {f"K{n}": "x" * 2000 for n in range(21)}}, "search_attributes"),
        ({"memo": {"\ud800": 1}}, "memo.\\ud800"),
        ({"tolerated_failure_count": 2**31}, "tolerated_failure_count"),
        ({"tolerated_failure_ratio": float("nan")}, "tolerated_failure_ratio"),
        ({"speed": 5}, "options.speed"),
        ({"x" * 5000: 5}, "options.xxx"),
        ([], "options"),
    ],
)
def test_a_bad_option_is_one_sentence_that_starts_with_its_name(given: Any, field: str) -> None:
    """InvalidInput names the field, and is never retried."""
    with pytest.raises(InvalidInput) as caught:
        FanOutOptions.from_dict(given)
    assert caught.value.message.startswith(f"{field}: " if field != "options.xxx" else field)
    assert "\n" not in caught.value.message
    assert len(caught.value.message.encode()) <= 3000
    assert caught.value.type == "InvalidInput"
    assert caught.value.non_retryable


@pytest.mark.parametrize(
    "given",
    [
        {"max_concurrency": 2**31 - 1, "tolerated_failure_count": 2**31 - 1},
        {"starts_per_second": 0.0001},
        {"timeout": 0.001, "heartbeat_timeout": 10 * 365 * 86400},
        {"task_queue": "x" * 1000},
        {"task_queue": "/_sys"},
        {"name": "x" * 64},
        {"search_attributes": {"Customer": "x" * 2046, "Text": "я" * 341, "Empty": "", "Tags": []}},
        {"search_attributes": {"Least": -(2**63), "Most": 2**63 - 1, "Large": 1e308, "Yes": True}},
        {"retry": {"maximum_attempts": 2**31 - 1, "non_retryable_error_types": ["", "TemporalTimeout:StartToClose"]}},
        {"memo": {"": None}},
    ],
)
def test_what_the_server_takes_is_taken(given: dict[str, Any]) -> None:
    """Each limit is where the server has it, no lower."""
    FanOutOptions.from_dict(given)


def test_options_survive_their_json_form() -> None:
    """What a shard is given is what the run was given; defaults are left out."""
    options = FanOutOptions(
        max_concurrency=7,
        timeout=timedelta(seconds=90),
        retry=RetryPolicy(maximum_attempts=3, maximum_interval=timedelta(seconds=9), non_retryable_error_types=["A"]),
        args=[1, {"a": None}],
        search_attributes={"Tags": ["a"]},
        tolerated_failure_ratio=0.25,
    )
    given = options.to_dict()
    assert FanOutOptions.from_dict(given) == options
    assert given["retry"]["maximum_attempts"] == 3
    assert given["timeout"] == 90
    assert "shard_size" not in given


@pytest.mark.parametrize(
    ("count", "ratio", "total", "tolerated"),
    [(None, None, 10, None), (3, None, 10, 3), (None, 0.01, 50, 0), (None, 0.1, 30, 3), (5, 0.1, 30, 3), (0, 1, 9, 0)],
)
def test_the_smaller_tolerance_counts(
    count: int | None, ratio: float | None, total: int, tolerated: int | None
) -> None:
    """A ratio is of all items, rounded down; 0.1 of 30 is 3, whatever floating point makes of it."""
    options = FanOutOptions(tolerated_failure_count=count, tolerated_failure_ratio=ratio)
    assert options.tolerated(total) == tolerated


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"source": ""}, "source: must be an address"),
        ({"source": "x", "format": "xml"}, "format: must be jsonl or csv"),
        ({"activity": 5}, "input: must be a JSON array"),
        ({"activity": "a", "args": 5}, "input: must be a JSON array"),
        ({"activity": "a", "timeout": "soon"}, "source.timeout: must be a number"),
        ({"activity": "a", "timeout": float("nan")}, "source.timeout: must be a number"),
        ({"activity": " "}, "source.activity: must be a name"),
        ({"activity": "x" * 1001}, "source.activity: must take at most 1000 bytes"),
        ({"activity": "__temporal_x"}, "source.activity: must not begin with __temporal_"),
        ({"activity": "a", "task_queue": "/_sys/x"}, "source.task_queue: must not begin with /_sys/"),
        ({"activity": "a", "task_queue": 5}, "source.task_queue: must be a name"),
        ({"url": "x"}, "input.url: is not known"),
    ],
)
def test_a_bad_source_says_what_a_source_is(given: dict[str, Any], message: str) -> None:
    """InvalidInput for what names no source."""
    with pytest.raises(InvalidInput, match=message):
        Source.from_dict(given)


@pytest.mark.parametrize(("activity", "args"), [(5, ()), (None, ()), ("a", "text"), ("a", b"bytes"), ("a", 5)])
def test_a_source_in_python_is_checked_too(activity: Any, args: Any) -> None:
    """What is no activity and what are no arguments are InvalidInput, where a workflow would hang."""
    with pytest.raises(InvalidInput, match=r"source\.(activity|args): must be an"):
        Source(activity, args)


def test_a_files_format_is_known_by_its_ending() -> None:
    """.csv is CSV, all else JSON lines, unless told."""
    assert Source.file("s3://b/x.CSV").args[0]["format"] == "csv"
    assert Source.file("/x.txt").args[0]["format"] == "jsonl"
    assert Source.file("/x.txt", "csv").args[0]["format"] == "csv"


def test_the_json_result_starts_with_the_seed_shape() -> None:
    """The six keys come first and in order; the entries have the lab's keys and no others."""
    result = FanOutResult(
        4,
        {Outcome.COMPLETED: 1, Outcome.TIMED_OUT: 1, Outcome.NOT_STARTED: 2, Outcome.FAILED: 0},
        [Completed(0, 1, 2)],
        [Failure(1, 2, Outcome.TIMED_OUT, "late", "TimeoutError")],
    )
    given = result.to_dict()
    assert list(given)[:6] == [
        "total_children",
        "successful_results",
        "failed_children",
        "success_count",
        "failure_count",
        "success_rate",
    ]
    assert given["successful_results"] == [{"value": 1, "result": 2}]
    assert given["failed_children"] == [{"value": 2, "error": "late", "type": "TimeoutError"}]
    assert (result.success_count, result.failure_count, result.not_started_count) == (1, 1, 2)
    assert given["success_rate"] == 0.25
    assert given["outcomes"] == {"completed": 1, "timed_out": 1, "not_started": 2}
