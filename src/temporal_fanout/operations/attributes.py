"""The search attributes of a run, as its namespace has them: one that it refuses would fail the run's task for ever."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from temporal_fanout.checks import InvalidInput

_PREFIX = "INDEXED_VALUE_TYPE_"
_SETTABLE = ("Temporal", "Batcher", "BinaryChecksums", "BuildIds")
"""Beginnings of the names of the server's own attributes that a client may set."""
_NOT_ALLOWED = {RPCStatusCode.PERMISSION_DENIED, RPCStatusCode.UNIMPLEMENTED}


async def check_search_attributes(client: Client, attributes: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` for one that the namespace does not have, or has of a type that this value is not of.

    Where the client may not ask the server, nothing is checked.
    """
    if not attributes:
        return
    try:
        known = await client.operator_service.list_search_attributes(
            ListSearchAttributesRequest(namespace=client.namespace)
        )
    except RPCError as error:
        if error.status in _NOT_ALLOWED:
            return
        raise
    custom = {name: _name(kind) for name, kind in known.custom_attributes.items()}
    system = {name: _name(kind) for name, kind in known.system_attributes.items()}
    for name, value in sorted(attributes.items()):
        path, (first, *others) = f"options.search_attributes.{name}", _kinds(value)
        if name in system and not name.startswith(_SETTABLE):
            raise InvalidInput(f"{path}: is set by the server itself; choose another name")
        kind = custom.get(name) or system.get(name)
        if kind is None:
            raise InvalidInput(
                f"{path}: is not registered in the namespace {client.namespace}; register it: "
                f"temporal operator search-attribute create --name {name} --type {first}"
            )
        if kind not in (first, *others):
            raise InvalidInput(
                f"{path}: is a {kind} in the namespace {client.namespace}, which {value!r:.60} is not; give a {kind}, "
                f"or another attribute of type {first}"
            )


def _name(kind: IndexedValueType.ValueType) -> str:
    """As the server's command line has it: `KeywordList`."""
    return IndexedValueType.Name(kind).removeprefix(_PREFIX).title().replace("_", "")


def _kinds(value: Any) -> tuple[str, ...]:
    """The types of an attribute that the server lets take this value, the one to register first."""
    if isinstance(value, bool):
        return ("Bool",)
    if isinstance(value, int):
        return ("Int", "Double")
    if isinstance(value, float):
        return ("Double",)
    if isinstance(value, list):
        return ("KeywordList", "Keyword", "Text") if len(value) == 1 else ("KeywordList",)
    return ("Keyword", "Text", "Datetime") if _is_time(value) else ("Keyword", "Text")


def _is_time(text: str) -> bool:
    with contextlib.suppress(ValueError):
        return datetime.fromisoformat(text).tzinfo is not None
    return False
