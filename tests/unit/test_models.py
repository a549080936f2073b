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
        ({"speed": 5}, "options.speed"),
        ([], "options"),
    ],
)
def test_a_bad_option_is_one_sentence_that_starts_with_its_name(given: Any, field: str) -> None:
    """InvalidInput names the field, and is never retried."""
    with pytest.raises(InvalidInput) as caught:
        FanOutOptions.from_dict(given)
    assert caught.value.message.startswith(f"{field}: ")
    assert "\n" not in caught.value.message
    assert caught.value.type == "InvalidInput"
    assert caught.value.non_retryable


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
        ({"activity": "a", "timeout": "soon"}, "timeout: must be a number"),
        ({"url": "x"}, "input.url: is not known"),
    ],
)
def test_a_bad_source_says_what_a_source_is(given: dict[str, Any], message: str) -> None:
    """InvalidInput for what names no source."""
    with pytest.raises(InvalidInput, match=message):
        Source.from_dict(given)


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
