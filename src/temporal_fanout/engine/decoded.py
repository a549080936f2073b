"""The result of a fan-out for its parent: values as they were given, results as their type says.

A result is decoded when it is looked at: one that is of another type harms nobody who does not need it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.converter import PayloadConverter

from temporal_fanout.checks import InvalidInput
from temporal_fanout.engine.tally import CompletedItem, FailedItem, Tally
from temporal_fanout.results import Completed, Failure, FanOutResult, Outcome
from temporal_fanout.wire.payloads import ItemList, as_json

_NOT_YET: Any = object()


class _Completed(Completed[Any]):
    """Decodes its result when it is asked for."""

    def __init__(self, item: CompletedItem, value: Any, decode: Callable[[], Any]) -> None:
        put = object.__setattr__
        put(self, "index", item.index)
        put(self, "value", value)
        put(self, "_item", item)
        put(self, "_decode", decode)
        put(self, "_result", _NOT_YET)

    @property
    def result(self) -> Any:
        if self._result is _NOT_YET:
            object.__setattr__(self, "_result", self._decode())
        return self._result

    def to_dict(self) -> dict[str, Any]:
        return {"value": as_json(self._item.value), "result": as_json(self._item.result)}

    _item: CompletedItem
    _decode: Callable[[], Any]
    _result: Any


class _Failure(Failure):
    """Shows its value as JSON where that is asked for."""

    def __init__(self, item: FailedItem, value: Any) -> None:
        super().__init__(item.index, value, item.outcome, item.error, item.type)
        object.__setattr__(self, "_value", item.value)

    def to_dict(self) -> dict[str, Any]:
        return super().to_dict() | {"value": as_json(self._value)}

    _value: Payload | None


def result_of(tally: Tally, items: ItemList | None, hint: Any) -> FanOutResult[Any]:
    """`items` are those of the list that was given; `hint` is the type of results, if it is known."""
    converter = workflow.payload_converter()

    def value(index: int, payload: Payload | None) -> Any:
        as_given = items is not None and payload is not None and payload == items[index]
        return items.value(index) if items is not None and as_given else _decoded(payload, converter)

    def completed(one: CompletedItem) -> Completed[Any]:
        return _Completed(one, value(one.index, one.value), lambda: _typed(one, hint, converter))

    return FanOutResult(
        total_children=tally.finished,
        outcomes={outcome: tally.outcomes.get(outcome, 0) for outcome in Outcome},
        completed=[completed(one) for one in tally.completed_items],
        failed=[_Failure(one, value(one.index, one.value)) for one in tally.failed_items],
        truncated=tally.truncated,
    )


def _typed(item: CompletedItem, hint: Any, converter: PayloadConverter) -> Any:
    if item.result is None or hint is None:
        return _decoded(item.result, converter)
    try:
        return converter.from_payload(item.result, hint)
    except Exception as error:  # whatever the user's converter raises
        raise InvalidInput(
            f"result_type: the result of item {item.index} cannot be decoded as {hint}: {error}"
        ) from None


def _decoded(payload: Payload | None, converter: PayloadConverter) -> Any:
    """A payload whose type is not known; what cannot be decoded is shown."""
    if payload is None:
        return None
    try:
        return converter.from_payload(payload)
    except Exception:  # whatever the user's converter raises
        return as_json(payload)
