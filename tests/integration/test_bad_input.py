"""Bad input and bad children: each ends in one clear error or in outcomes, none in a run that hangs."""

from __future__ import annotations

from typing import Any

import pytest
from temporalio.client import Client, WorkflowFailureError
from temporalio.service import RPCError

from tests import workflows as w
from tests.conftest import Bench, until, working


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([], "input: is missing"),
        (["text"], "input: must be a JSON array"),
        ([None], "input: must be a JSON array"),
        ([7], "input: must be a JSON array"),
        ([{}], "input: must be a JSON array"),
        ([{"source": 7}], "source: must be an address"),
        ([{"source": "/x", "more": 1}], "input.more: is not known"),
        ([{"source": "/x.jsonl"}], "is not below a source root of the worker, which has none"),
        ([[1], [2]], "options: must be an object"),
        ([[1], {}, {}], "not 3 inputs"),
        ([[1], {"max_concurency": 5}], "options.max_concurency: is not known"),
        ([[1], {"max_concurrency": -1}], "max_concurrency: must be a whole number from 1 to 2147483647, not -1"),
        ([[1], {"max_concurrency": "5"}], "max_concurrency: must be a whole number"),
        ([[1], {"shard_size": 301}], "shard_size: must be a whole number from 1 to 300"),
        ([[1], {"timeout": 0}], "timeout: must be a number"),
        ([[1], {"retry": {"attempts": 3}}], "retry.attempts: is not known"),
        ([[1], {"name": "a/b"}], "name: must be a letter"),
        ([[1], {"child": 5}], "options.child: must be a name"),
        ([[1], {"child": "A", "activity": "b"}], "options.activity: cannot stand beside"),
        ([["x" * 1_500_000]], "items[0]: takes 1.4 MiB, over 1"),
    ],
)
async def test_bad_input_fails_the_run_in_one_sentence(bench: Bench, inputs: list[Any], message: str) -> None:
    """The run fails at once, as InvalidInput, and its message names the field."""
    error = await bench.error("ParentWorkflow", *inputs)
    assert error.type == "InvalidInput"
    assert message in error.message
    assert error.non_retryable


async def test_a_parent_id_without_room_for_its_childrens_is_refused(bench: Bench) -> None:
    """A workflow id so long that a child's would be refused, which hangs a parent, is InvalidInput."""
    with pytest.raises(WorkflowFailureError) as caught:
        await bench.run("ParentWorkflow", [1], id="x" * 950)
    assert "workflow id: must leave 100 of 1000 bytes" in str(caught.value.cause)


async def test_a_worker_without_the_plugin_says_so(client: Client) -> None:
    """Without the plugin fan_out fails the run and names the cure, however few the items."""
    async with working(client, plugin=False) as bench:
        error = await bench.error("ParentWorkflow", [1])
    assert "plugins=[FanOutPlugin()]" in error.message


async def test_a_shard_started_by_hand_is_refused(bench: Bench) -> None:
    """The shard workflow says by whom it is started."""
    for inputs in ([], [[1]], [{"prefix": "x"}]):
        assert "started by fan_out only" in (await bench.error("FanOutShard", *inputs)).message


@pytest.mark.parametrize(
    ("work", "item", "outcome", "type", "error"),
    [
        ("Plain", 1, "failed", "ValueError", "no such customer"),
        ("ActivityChild", 1, "failed", "Declined", "card 1 was declined"),
        ("activity:declined", 1, "failed", "Declined", "card 1 was declined"),
        ("ChildWorkflow", "text", "failed", "InvalidInput", "value must be a whole number, not 'text'"),
        ("Stuck", 1, "timed_out", "TimeoutError", "is Stuck registered, its task queue polled"),
        ("TwoInputs", 1, "timed_out", "TimeoutError", "did not complete within 2 s"),
        ("NoSuchWorkflow", 1, "timed_out", "TimeoutError", "is NoSuchWorkflow registered"),
        ("activity:no_such_activity", 1, "failed", "NotFoundError", "no_such_activity"),
        ("Sleep", 600, "timed_out", "TimeoutError", "did not complete within 2 s"),
        ("activity:sleep", 600, "timed_out", "TimeoutError", "did not complete within 2 s"),
        ("Broken", "large", "timed_out", "TimeoutError", "did not complete within 2 s"),
    ],
)
async def test_a_bad_child_is_an_outcome_with_its_root_cause(
    bench: Bench, work: str, item: Any, outcome: str, type: str, error: str
) -> None:
    """Whatever a child does, its parent completes, and says of the item what happened."""
    result = await bench.run(w.Anything.run, work, [item], {"timeout": 2})
    assert result["outcomes"] == {outcome: 1}
    assert result["failed_children"][0]["type"] == type
    assert error in result["failed_children"][0]["error"]


async def test_a_task_queue_that_nobody_polls_is_an_outcome(bench: Bench) -> None:
    """Children and activities on a queue without a worker time out."""
    for work in ("Echo", "activity:double"):
        result = await bench.run(w.Anything.run, work, [1], {"timeout": 1, "task_queue": "nobody-polls-this"})
        assert result["outcomes"] == {"timed_out": 1}


async def test_results_that_are_not_json_are_shown_by_encoding_and_size(bench: Bench) -> None:
    """A child of another language or converter completes; its parent never decodes what it cannot."""
    result = await bench.run(w.Anything.run, "Broken", ["json", "bytes", "unknown"], {})
    assert [entry["result"] for entry in result["successful_results"]] == [
        {"encoding": "json/plain", "size": 9},
        {"encoding": "binary/plain", "size": 3},
        {"encoding": "binary/of-another-language", "size": 3},
    ]


async def test_cancelled_and_terminated_children_are_outcomes(bench: Bench, client: Client) -> None:
    """A child that an operator cancels or terminates ends as such; the run goes on."""
    handle = await bench.start(w.Anything.run, "Sleep", [600, 600, 0], {})

    async def stopped(index: int, how: str) -> bool:
        try:
            await getattr(client.get_workflow_handle(f"{handle.id}.{index}"), how)()
        except RPCError:
            return False
        return True

    await until(lambda: stopped(0, "cancel"), "the first child")
    await until(lambda: stopped(1, "terminate"), "the second child")
    result = await handle.result()
    assert result["outcomes"] == {"completed": 1, "cancelled": 1, "terminated": 1}
    assert result["failed_outcomes"] == ["cancelled", "terminated"]


async def test_a_terminated_shard_is_the_outcome_of_its_items(bench: Bench, client: Client) -> None:
    """When an operator terminates a shard, its items are terminated, and the rest of the run goes on."""
    handle = await bench.start(w.Anything.run, "Sleep", [600, 600, 0, 0], {"shard_size": 2})
    shard = client.get_workflow_handle(f"{handle.id}.s0")

    async def children() -> bool:
        return (
            await client.count_workflows(f'WorkflowId STARTS_WITH "{handle.id}." AND WorkflowType="Sleep"')
        ).count >= 2

    await until(children, "the children of the shard")
    await shard.terminate()
    result = await handle.result()
    assert result["outcomes"] == {"completed": 2, "terminated": 2}
    assert "was lost with the outcomes of its 2 items" in result["failed_children"][0]["error"]


async def test_an_item_whose_id_is_taken_runs_under_another(bench: Bench, client: Client) -> None:
    """A workflow that is open under a child's id is not taken for the child, nor keeps the item from running."""
    taken = await bench.start(w.Sleep.run, 600, id="taken-parent.0")
    also_taken = await bench.start(w.Sleep.run, 600, id="taken-parent.0.a2")
    result = await bench.run(w.Anything.run, "Echo", [1, 2], {}, id="taken-parent")
    assert result["outcomes"] == {"completed": 2}
    assert (await client.get_workflow_handle("taken-parent.0.a3").describe()).parent_id == "taken-parent"
    await taken.terminate()
    await also_taken.terminate()
