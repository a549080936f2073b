"""The names of work, and payloads as JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.common import RawValue

from temporal_fanout import InvalidInput
from temporal_fanout.lab import double
from temporal_fanout.lab.workflows.child import ChildWorkflow
from temporal_fanout.wire.payloads import as_json
from temporal_fanout.wire.starts import name_of


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


@pytest.mark.parametrize("work", [None, 5, "", "activity:", object, print, Dynamic, Dynamic.run])
def test_what_is_neither_workflow_nor_activity_is_refused(work: Any) -> None:
    """InvalidInput for anything else."""
    with pytest.raises(InvalidInput, match=r"^InvalidInput: work: must be"):
        name_of(work)


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
