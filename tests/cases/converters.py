"""Data converters of users: what they make of values, and how they encrypt it."""

from __future__ import annotations

import base64
import dataclasses
import pickle
from collections.abc import Sequence
from typing import Any

from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)


class _Pickled(EncodingPayloadConverter):
    """Nearly everything in a binary form of its own."""

    @property
    def encoding(self) -> str:
        return "binary/pickled"

    def to_payload(self, value: Any) -> Payload | None:
        if dataclasses.is_dataclass(value):  # of a module that the sandbox has loaded anew, which pickle refuses
            return None
        return Payload(metadata={"encoding": self.encoding.encode()}, data=pickle.dumps(value))

    def from_payload(self, payload: Payload, type_hint: type | None = None) -> Any:
        return pickle.loads(payload.data)  # noqa: S301 - what this test has written


class BinaryFirst(CompositePayloadConverter):
    def __init__(self) -> None:
        super().__init__(_Pickled(), *DefaultPayloadConverter.default_encoding_payload_converters)


class Scrambled(PayloadCodec):
    """Stands for encryption: nothing of what it encodes can be read without it."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/scrambled"}, data=base64.b85encode(one.SerializeToString())[::-1])
            for one in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(base64.b85decode(one.data[::-1]))
            if one.metadata.get("encoding") == b"binary/scrambled"
            else one
            for one in payloads
        ]


CONVERTERS: dict[str, DataConverter] = {
    "default": DataConverter.default,
    "pydantic": pydantic_data_converter,
    "binary": dataclasses.replace(DataConverter.default, payload_converter_class=BinaryFirst),
    "encrypted": dataclasses.replace(DataConverter.default, payload_codec=Scrambled()),
}


def with_converter(client: Client, name: str) -> Client:
    """The same client with another data converter."""
    config = client.config()
    config["data_converter"] = CONVERTERS[name]
    return Client(**config)
