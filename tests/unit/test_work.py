"""The names of work, and payloads as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from enum import IntEnum, StrEnum
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from temporal_fanout import FanOutOptions, InvalidInput
from temporal_fanout.lab import double
from temporal_fanout.lab.workflows.child import ChildWorkflow
from temporal_fanout.wire.payloads import as_json
from temporal_fanout.wire.starts import name_of, result_type_of, search_attributes
from tests.workflows import Bill, Echo


@workflow.defn(dynamic=True)
class Dynamic:
    @workflow.run
    async def run(self, args: Sequence[RawValue]) -> None: ...


@pytest.mark.parametrize(
    ("work", "name"),
    [
        (ChildWorkflow, "ChildWorkflow"),
        (ChildWorkflow.run, "ChildWorkflow"),
        ("Any", "Any"),
        (double, "activity:double"),
        ("activity:double", "activity:double"),
    ],
)
def test_work_is_known_by_its_class_method_function_or_name(work: Any, name: str) -> None:
    """Each way to name a workflow or an activity gives the name that its worker knows."""
    assert name_of(work) == name


@pytest.mark.parametrize(
    "work", [None, 5, "", "activity:", object, print, Dynamic, Dynamic.run, "activity: ", "\ud800"]
)
def test_what_is_neither_workflow_nor_activity_is_refused(work: Any) -> None:
    """InvalidInput for anything else."""
    with pytest.raises(InvalidInput, match=r"^InvalidInput: work: must be"):
        name_of(work)


@workflow.defn
class Untyped:
    @workflow.run
    async def run(self, item):  # type: ignore[no-untyped-def]
        return item


@workflow.defn(name="x" * 1001)
class LongName:
    @workflow.run
    async def run(self) -> None: ...


@pytest.mark.parametrize(
    "work", ["x" * 1001, "activity:" + "я" * 501, "__temporal_x", "activity:__temporal_x", LongName]
)
def test_a_name_that_the_server_refuses_is_refused(work: Any) -> None:
    """Over 1,000 bytes, or with Temporal's own beginning: a parent that starts it would hang."""
    with pytest.raises(InvalidInput, match=r"^InvalidInput: work: must (take at most 1000 bytes|not begin with)"):
        name_of(work)


def test_a_name_of_1000_bytes_is_taken() -> None:
    """The marker of an activity is no part of its name."""
    assert name_of("activity:" + "x" * 1000) == "activity:" + "x" * 1000


@pytest.mark.parametrize(
    ("work", "expected"),
    [
        (Bill.run, str), (Bill, str), (double, int), (Echo.run, Any), ("Bill", None), ("activity:double", None),
        (Untyped.run, None), (print, None), (5, None), (object, None),
    ],
)  # fmt: skip
def test_the_type_of_results_is_that_of_the_definition(work: Any, expected: Any) -> None:
    """A name has none, nor has a run method without an annotation."""
    assert result_type_of(work) is expected


class Colour(StrEnum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


def test_search_attributes_are_typed_by_their_values() -> None:
    """Text and whole numbers of a class of the user's own are what they derive from; true is no number."""
    given = FanOutOptions(
        search_attributes={"A": Colour.RED, "B": Size.SMALL, "C": True, "D": 0.5, "E": ["x"], "F": "y", "G": 2}
    )
    typed = search_attributes(given.search_attributes)
    assert typed is not None
    assert [pair.key.indexed_value_type.name for pair in typed] == [
        "KEYWORD", "INT", "BOOL", "DOUBLE", "KEYWORD_LIST", "KEYWORD", "INT",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("encoding", "data", "value"),
    [
        ("json/plain", b'{"a":[1,null]}', {"a": [1, None]}),
        ("json/protobuf", b'{"a":1}', {"a": 1}),
        ("binary/null", b"", None),
        ("json/plain", b"{", {"encoding": "json/plain", "size": 1}),
        ("binary/encrypted", b"123", {"encoding": "binary/encrypted", "size": 3}),
        ("", b"", {"encoding": "", "size": 0}),
    ],
)
def test_a_payload_is_json_or_its_encoding_and_size(encoding: str, data: bytes, value: Any) -> None:
    """Nothing that a child returns can raise."""
    assert as_json(Payload(metadata={"encoding": encoding.encode()}, data=data)) == value
