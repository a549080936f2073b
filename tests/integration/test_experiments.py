"""Every scenario on the worker that runs them all: its exact outcome."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError, WorkflowHandle
from temporalio.exceptions import CancelledError

from temporal_fanout.lab.behaviour import Behaviour
from temporal_fanout.lab.scenarios import SCENARIOS
from temporal_fanout.lab.worker import make_worker
from temporal_fanout.operations.updates import held_items, release, update
from temporal_fanout.wire.protocol import RESIZE
from tests import processes
from tests.conftest import Bench, until
from tests.processes import a_queue, fanout

DOUBLED = {
    "default": [1, 3, 5],
    "all-success": [1, 3, 5, 7, 9],
    "all-failures": [],
    "large-scale": [1, 3, 5, 7, 9, 11, 13, 15],
    "multiples-of-3": [1, 2, 4, 5, 7, 8],
    "random-failures": [3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 17, 19],
    "try-except": [1, 3, 5],
}
"""Scenarios whose children double: the values of which they complete, and of whose others they fail."""

OTHERS = {
    "strict",  # in test_limits
    "stress", "activities",  # in tests/endurance
    "random-delays", "sequential",
    "parallel", "validation", "transformation", "conditional", "batches", "retries", "compensation",
    "hold", "scaling",
}  # fmt: skip


@pytest.fixture(scope="module")
async def lab(client: Client) -> AsyncIterator[Bench]:
    """The worker of `fanout worker` and `fanout demo`."""
    queue = a_queue()
    async with make_worker(client, queue, graceful_seconds=5):
        yield Bench(client, queue)


async def start(lab: Bench, name: str) -> WorkflowHandle[Any, Any]:
    scenario = SCENARIOS[name]
    return await lab.start(scenario.workflow, *scenario.inputs)


async def run(lab: Bench, name: str) -> Any:
    return await (await start(lab, name)).result()


def test_every_scenario_has_a_test() -> None:
    """The registry and what is tested are the same."""
    assert set(DOUBLED) | OTHERS == set(SCENARIOS)


@pytest.mark.parametrize("name", DOUBLED)
async def test_a_scenario_completes_what_it_says_and_nothing_else(lab: Bench, name: str) -> None:
    """The very values, in order; the others fail, each with its own error; the description has the same counts."""
    good, values = DOUBLED[name], list(SCENARIOS[name].values)
    result = await run(lab, name)
    assert result["successful_results"] == [{"value": value, "result": 2 * value} for value in good]
    assert result["failed_children"] == [
        {"value": value, "error": f"Simulated failure for value {value}", "type": "ApplicationError"}
        for value in values
        if value not in good
    ]
    assert SCENARIOS[name].expected.startswith(f"{len(good)} of {len(values)} complete")


async def test_delays_pass_at_once(lab: Bench) -> None:
    """All ten complete, in about the slowest one's time, and far from all of them together."""
    scenario = SCENARIOS["random-delays"]
    delays = [Behaviour.from_json(scenario.options["args"][0]).seconds(value) for value in range(1, 11)]
    handle = await start(lab, "random-delays")
    assert (await handle.result())["outcomes"] == {"completed": 10}
    took = await seconds(handle)
    assert max(delays) <= took < sum(delays) / 2
    assert f"the slowest takes {max(delays):.1f} s, all together {sum(delays):.1f} s" in scenario.expected


async def seconds(handle: WorkflowHandle[Any, Any]) -> float:
    """From the start to the end, as the server has it."""
    described = await handle.describe()
    assert described.close_time is not None
    return (described.close_time - described.start_time).total_seconds()


async def test_sequential_and_parallel_are_told_apart_and_timed(lab: Bench) -> None:
    """The lab's keys: one after another takes five times half a second, at once about one."""
    sequential, parallel = await run(lab, "sequential"), await run(lab, "parallel")
    assert list(sequential) == list(parallel) == ["execution_type", "execution_time", "results"]
    assert (sequential["execution_type"], parallel["execution_type"]) == ("sequential", "parallel")
    assert sequential["results"]["outcomes"] == parallel["results"]["outcomes"] == {"completed": 5}
    assert sequential["execution_time"] >= 2.5
    assert 0.5 <= parallel["execution_time"] < sequential["execution_time"]


async def test_validation_says_which_records_are_whole(lab: Bench) -> None:
    """A name and an email, neither empty: true; else false."""
    result = await run(lab, "validation")
    assert [entry["result"] for entry in result["successful_results"]] == [True, True, False, False, True]


async def test_transformation_refuses_what_lacks_a_field(lab: Bench) -> None:
    """The name in capitals and the email's domain; a missing field is named."""
    result = await run(lab, "transformation")
    assert [entry["result"] for entry in result["successful_results"]] == TRANSFORMED
    assert [(entry["type"], entry["error"]) for entry in result["failed_children"]] == [
        ("InvalidInput", "email: must be a text, not None"),
        ("InvalidInput", "name: must be a text, not ''"),
    ]


TRANSFORMED = [
    {"email_domain": "example.com", "full_name": "ADA LOVELACE"},
    {"email_domain": "example.org", "full_name": "GRACE HOPPER"},
    {"email_domain": "example.net", "full_name": "MARY JACKSON"},
]


async def test_only_valid_records_are_transformed(lab: Bench, client: Client) -> None:
    """Five are validated; children of the second type run for three, under the name of the second fan-out."""
    handle = await start(lab, "conditional")
    assert await handle.result() == {
        "validated": 5,
        "transformed": TRANSFORMED,
        "rejected": [{"name": "Alan Turing"}, {"email": "nobody@example.com", "name": ""}],
        "failed_children": [],
    }
    history = await handle.fetch_history()
    started = [
        event.start_child_workflow_execution_initiated_event_attributes
        for event in history.events
        if event.HasField("start_child_workflow_execution_initiated_event_attributes")
    ]
    assert [(child.workflow_id, child.workflow_type.name) for child in started] == [
        *((f"{handle.id}.validation.{n}", "DataValidationWorkflow") for n in range(5)),
        *((f"{handle.id}.transformation.{n}", "DataTransformationWorkflow") for n in range(3)),
    ]


async def test_batches_have_the_labs_ids(lab: Bench, client: Client) -> None:
    """As many children as the sizes ask for; each batch's id is in the result and in its child's memo."""
    handle = await start(lab, "batches")
    assert await handle.result() == {
        "batches_processed": 3,
        "results": [
            {"id": "batch-0-10", "items": 10, "sum": 45},
            {"id": "batch-10-20", "items": 10, "sum": 145},
            {"id": "batch-20-25", "items": 5, "sum": 110},
        ],
        "failed_children": [],
    }
    described = await client.get_workflow_handle(f"{handle.id}.2").describe()
    assert await described.memo() == {"batch": "batch-20-25"}


async def test_no_items_are_no_batches(lab: Bench) -> None:
    """Nothing to do is done at once."""
    result = await lab.run("BatchProcessingWorkflow", {"batch_size": 3, "total_items": 0})
    assert (result["batches_processed"], result["results"]) == (0, [])


async def test_each_child_is_retried_until_it_completes(lab: Bench) -> None:
    """Two attempts fail, the third completes, and the result says so; with fewer attempts the last error is shown."""
    result = await run(lab, "retries")
    assert result["successful_results"] == [
        {"value": value, "result": {"attempts": 3, "result": 2 * value}} for value in (1, 2, 3)
    ]
    result = await lab.parent([1], child="FlakyActivityWorkflow", args=[{"failures": 2, "attempts": 2}])
    assert result["failed_children"][0]["error"] == "Simulated failure of attempt 2 for value 1"


async def test_plain_style_gives_what_fan_out_gives(lab: Bench) -> None:
    """The lab's six keys are equal, for this failure rule and for another."""
    for options in ({}, {"args": [{"fail_multiples_of": 3}]}):
        plain = await lab.run("TryExceptWorkflow", [1, 2, 3, 4, 5], options)
        ours = await lab.run("ParentWorkflow", [1, 2, 3, 4, 5], options)
        assert plain == {key: ours[key] for key in plain}
        assert len(plain) == 6


async def test_a_cancelled_parent_in_plain_style_is_cancelled(lab: Bench, client: Client) -> None:
    """Its children's failing, by which it hears of that, does not make it complete."""
    handle = await lab.start("TryExceptWorkflow", [1, 3], {"args": [{"delay_seconds": 60}]})

    async def waits() -> bool:
        history = await client.get_workflow_handle(f"{handle.id}.1").fetch_history()
        return any(event.HasField("timer_started_event_attributes") for event in history.events)

    await until(lambda: quiet(waits), "a child that waits")
    await handle.cancel()
    with pytest.raises(WorkflowFailureError) as caught:
        await handle.result()
    assert isinstance(caught.value.cause, CancelledError)


async def quiet(condition: Any) -> bool:
    """False also while what is asked for is not there."""
    try:
        return bool(await condition())
    except Exception:
        return False


async def test_what_had_completed_is_undone_in_reverse_order(lab: Bench, client: Client) -> None:
    """The breach is caught, the completed are undone one after another, the last first, and the others never start."""
    handle = await start(lab, "compensation")
    result = await handle.result()
    reason = result.pop("reason")
    assert reason.startswith("more items failed than the 0 that are tolerated (3 completed, 1 failed, 2 not started)")
    assert result == {
        "compensated": True,
        "completed": [1, 3, 5],
        "failed": [2],
        "not_started": 2,
        "undone": [5, 3, 1],
        "undo_failed": [],
    }
    undone = [await client.get_workflow_handle(f"{handle.id}.undo.{n}").describe() for n in range(3)]
    for before, after in itertools.pairwise(undone):
        assert before.close_time
        assert before.close_time <= after.start_time


async def test_without_a_breach_nothing_is_undone(lab: Bench) -> None:
    """The result is then the fan-out's."""
    result = await lab.run("CompensationWorkflow", [1, 2, 3], {"tolerated_failure_count": 1})
    assert (result["compensated"], result["results"]["success_count"]) == (False, 2)


async def test_a_held_run_waits_for_a_person(lab: Bench, client: Client) -> None:
    """Two items are held; one is run again with another input, one skipped, and the run ends."""
    handle = await start(lab, "hold")

    async def two() -> bool:
        return [item["index"] for item in await held_items(client, handle.id)] == [1, 3]

    await until(lambda: quiet(two), "two held items")
    await release(client, handle.id, [1], name=None, skip=False, input=7)
    await release(client, handle.id, [3], name=None, skip=True)
    result = await handle.result()
    assert result["outcomes"] == {"completed": 4, "failed": 1}
    assert {"value": 7, "result": 14} in result["successful_results"]
    assert result["failed_indexes"] == [3]


async def test_a_resized_run_is_over_sooner(lab: Bench, client: Client) -> None:
    """Two at a time would take a minute; sixty at a time take a few seconds."""
    handle = await start(lab, "scaling")
    await update(client, handle.id, RESIZE, max_concurrency=60)
    result = await handle.result()
    assert result["outcomes"] == {"completed": 60}
    assert await seconds(handle) < 50


@pytest.mark.parametrize(
    ("workflow", "inputs", "message"),
    [
        ("BatchProcessingWorkflow", [], "input: is missing"),
        ("BatchProcessingWorkflow", [[1]], "input: must be an object with batch_size and total_items, not [1]"),
        ("BatchProcessingWorkflow", [{"batch_size": 0, "total_items": 1}], "batch_size: must be a whole number"),
        ("BatchProcessingWorkflow", [{"batch_size": 1}], "total_items: must be a whole number from 0 to 100000"),
        ("BatchProcessingWorkflow", [{"batches": 1}], "input.batches: is not known"),
        ("BatchProcessingWorkflow", [{"batch_size": 1, "total_items": 1}, {"child": "A"}], "options.child: is not"),
        ("ConditionalWorkflow", [{"source": "a"}], "input: must be a JSON array"),
        ("TryExceptWorkflow", [[1], {"max_concurrency": 1}], "options.max_concurrency: is for parents that call"),
        ("TryExceptWorkflow", [[1], {"args": 1}], "options.args: must be an array, not 1"),
        ("TryExceptWorkflow", [[1] * 501], "input: must be a JSON array of at most 500 values"),
        ("CompensationWorkflow", [[1], {"name": "undo"}], "options.name: undo is that of the second fan-out"),
        ("TimedParentWorkflow", [7], "input: must be a JSON array"),
        ("ChildWorkflow", [], "input: must be a whole number, and an object of options if need be, not 0 inputs"),
        ("ChildWorkflow", [1, {"rate": 1}], "child options.rate: is not known"),
        ("DataValidationWorkflow", ["Ada"], "input: must be a record, as {name, email}, not 'Ada'"),
        ("DataTransformationWorkflow", [{"name": "A", "email": "a"}], "email: must have a domain after an @, not 'a'"),
        ("BatchWorkflow", [{"id": "0-1"}], "items: must be an array of whole numbers, not None"),
        ("FlakyActivityWorkflow", ["x"], "value must be a whole number, not 'x'"),
        ("FlakyActivityWorkflow", [1, {"failures": -1}], "failures: must be a whole number of at least 0"),
        ("FlakyActivityWorkflow", [1, {"tries": 1}], "child options.tries: is not known"),
        ("UndoWorkflow", [{"value": 1}], "result: must be a whole number, not None"),
    ],
)
async def test_bad_input_names_its_field(lab: Bench, workflow: str, inputs: list[Any], message: str) -> None:
    """Parents and children alike fail at once, as InvalidInput."""
    error = await lab.error(workflow, *inputs)
    assert (error.type, error.non_retryable) == ("InvalidInput", True)
    assert message in error.message


async def test_the_activity_takes_the_childs_options(lab: Bench) -> None:
    """What fails as a child fails as an activity."""
    result = await lab.parent([1, 2, 3], activity="double", args=[{"fail_multiples_of": 3, "delay_seconds": 0.01}])
    assert [entry["value"] for entry in result["failed_children"]] == [3]


async def test_chance_may_favour_a_second_attempt(lab: Bench) -> None:
    """A child that is retried draws anew: fewer fail in the end, and always the same ones."""
    args = [{"failure_rate": 0.3, "seed": 13}]
    retry = {"maximum_attempts": 2, "initial_interval": 0.1}
    result = await lab.parent(list(range(1, 21)), args=args, retry=retry)
    assert [entry["value"] for entry in result["failed_children"]] == [2, 20]


async def test_run_shows_what_is_no_fan_outs_result(lab: Bench, client: Client) -> None:
    """JSON for a person, with the run and its time; for a program one object, with the run's id in it."""
    address = client.service_client.config.target_host
    table = await fanout("run", "batches", "--task-queue", lab.task_queue, address=address)
    assert table.code == 0, table.err
    shown, _, last = table.out.rstrip().rpartition("\n")
    assert json.loads(shown)["batches_processed"] == 3
    assert re.fullmatch(r"ended in \d+\.\d s \(parent-child-workflow-\d+\)", last)
    values = ["--workflow", "BatchProcessingWorkflow", "--values", '{"batch_size": 5, "total_items": 7}']
    ended = await fanout("run", *values, "--task-queue", lab.task_queue, "--output", "json", address=address)
    said = json.loads(ended.out)
    assert [batch["id"] for batch in said["results"]] == ["batch-0-5", "batch-5-7"]
    assert said["workflow_id"].startswith("parent-child-workflow-")
    plain = await fanout("run", "try-except", "--task-queue", lab.task_queue, address=address)
    assert '"success_count": 3' in plain.out


async def test_run_says_what_waits_for_a_person(lab: Bench, client: Client) -> None:
    """Once nothing else is left to wait for, the command that shows it."""
    address, id = client.service_client.config.target_host, f"held-{lab.task_queue}"
    await client.start_workflow("ParentWorkflow", args=SCENARIOS["hold"].inputs, id=id, task_queue=lab.task_queue)

    process = await processes.start("run", "hold", "--id", id, "--task-queue", lab.task_queue, address=address)
    assert process.stderr
    said = ""
    while "held for a person" not in said:
        said = (await process.stderr.readline()).decode()
        assert said, "the command ended"
    assert said == f"held for a person: 2; see: fanout held {id}\n"
    await release(client, id, None, name=None, skip=True)
    assert (await processes.end(process)).code == 0


async def test_a_demo_runs_any_scenario() -> None:
    """With the parent of the scenario."""
    ended = await fanout("demo", "conditional", "--output", "json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["transformed"] == TRANSFORMED


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["compare", "batches"], "SCENARIO: batches is of BatchProcessingWorkflow; give one of ParentWorkflow"),
        (["run", "--workflow", "A", "--values", "7"], "--values: must be a JSON array or object, not 7"),
        (["run", "--workflow", "ParentWorkflow", "--values", "{}"], "--values: must be a JSON array, not {}"),
        (["run", "batches", "--max-concurrency", "0"], "max_concurrency: must be a whole number from 1 to 2147483647"),
    ],
)
async def test_what_a_scenario_does_not_take_is_one_line(args: list[str], said: str) -> None:
    """Found before a server is asked."""
    ended = await fanout(*args)
    assert (ended.code, ended.out) == (2, "")
    assert said in ended.err
    assert len(ended.err.splitlines()) == 1
