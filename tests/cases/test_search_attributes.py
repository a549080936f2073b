"""Search attributes that the namespace would refuse are refused by `fanout run`, before anything starts."""

from __future__ import annotations

import json
import uuid
from types import SimpleNamespace
from typing import Any, cast

import pytest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout import InvalidInput
from temporal_fanout.operations.attributes import _kinds, check_search_attributes
from temporal_fanout.operations.connect import connect
from temporal_fanout.process.devserver import DevServer, dev_server
from temporal_fanout.wire.starts import search_attributes
from tests.conftest import Bench
from tests.processes import fanout

KINDS = ("Keyword", "KeywordList", "Text", "Int", "Double", "Bool", "Datetime")
VALUES = ("blue", "2026-01-01T00:00:00Z", "2026-01-01", "3", 3, 3.5, 3.0, True, ["a"], ["a", "b"])


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            {"Team": "blue"},
            "options.search_attributes.Team: is not registered in the namespace default; register it: "
            "temporal operator search-attribute create --name Team --type Keyword",
        ),
        (
            {"Customer": "c", "Size": 3},
            "options.search_attributes.Size: is not registered in the namespace default; register it: "
            "temporal operator search-attribute create --name Size --type Int",
        ),
        (
            {"Customer": 3},
            "options.search_attributes.Customer: is a Keyword in the namespace default, which 3 is not; "
            "give a Keyword, or another attribute of type Int",
        ),
        (
            {"Tags": "a"},
            "options.search_attributes.Tags: is a KeywordList in the namespace default, which 'a' is not; "
            "give a KeywordList, or another attribute of type Keyword",
        ),
        (
            {"WorkflowType": "x"},
            "search_attributes.WorkflowType: must be an attribute of the namespace that its users set; name another",
        ),
    ],
)
async def test_what_the_namespace_does_not_take_is_refused(
    server: DevServer, client: Client, given: dict[str, Any], message: str
) -> None:
    """With 2 and one line, which says how to register it; nothing is started."""
    id = f"refused-{uuid.uuid4().hex[:8]}"
    options = json.dumps({"search_attributes": given})
    ended = await fanout("run", "--values", "[1]", "--options", options, "--id", id, address=server.address)
    assert (ended.code, ended.out, ended.err) == (2, "", f"error: {message}\n")
    with pytest.raises(RPCError):
        await client.get_workflow_handle(id).describe()


async def test_what_the_namespace_has_is_taken(bench: Bench, server: DevServer) -> None:
    """A run whose attributes are registered runs."""
    options = json.dumps({"search_attributes": {"Customer": "c", "Tags": ["a", "b"]}})
    args = ["--values", "[1, 3]", "--options", options, "--task-queue", bench.task_queue]
    ended = await fanout("run", *args, address=server.address)
    assert ended.code == 0, ended.err


async def test_what_is_refused_is_what_the_server_refuses() -> None:
    """For each type of attribute and each value: the server starts a workflow with it where we let it pass, only."""
    names = [f"A{kind}" for kind in KINDS] + ["BuildIds", "BatcherUser", "WorkflowType", "StartTime"]
    registered = [part for kind in KINDS for part in ("--search-attribute", f"A{kind}={kind}")]
    async with dev_server(arguments=registered) as server:
        client = await connect(30, target_host=server.address)
        for value in VALUES:
            for name in names:
                ours = await _passes(check_search_attributes(client, {name: value}), InvalidInput)
                given = search_attributes({name: value})
                start = client.start_workflow(
                    "Nothing", id=uuid.uuid4().hex, task_queue="nobody", search_attributes=given
                )
                assert ours == await _passes(start, RPCError), (name, value)


async def _passes(work: Any, refusal: type[Exception]) -> bool:
    try:
        await work
    except refusal:
        return False
    return True


@pytest.mark.parametrize("status", [RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED])
async def test_a_server_that_does_not_say_is_believed(status: RPCStatusCode) -> None:
    """Where a client may not list the attributes, the run starts as ever."""

    async def refuse(_: Any) -> None:
        raise RPCError("no", status, b"")

    client = SimpleNamespace(namespace="n", operator_service=SimpleNamespace(list_search_attributes=refuse))
    await check_search_attributes(cast(Client, client), {"Team": "blue"})


def test_what_to_register_first() -> None:
    """The type that is proposed is the one that the value is started with."""
    assert [_kinds(value)[0] for value in ("a", 1, 1.5, False, ["a"], [])] == [
        "Keyword", "Int", "Double", "Bool", "KeywordList", "KeywordList",
    ]  # fmt: skip
