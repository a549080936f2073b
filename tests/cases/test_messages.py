"""What a client says to a run, and hears of it, whatever its data converter."""

from __future__ import annotations

import dataclasses
import pickle
import zlib
from collections.abc import Sequence
from typing import Any

import pytest
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import (
    CompositePayloadConverter,
    DataConverter,
    DefaultPayloadConverter,
    EncodingPayloadConverter,
    PayloadCodec,
)

from temporal_fanout import InvalidInput
from temporal_fanout.operations.connect import connect
from temporal_fanout.operations.progress import progress
from temporal_fanout.operations.updates import held_items, release, update
from temporal_fanout.process.devserver import DevServer
from temporal_fanout.wire.protocol import PAUSE, RESIZE, RESUME
from tests.conftest import until, working
from tests.processes import fanout


class _Pickles(EncodingPayloadConverter):
    @property
    def encoding(self) -> str:
        return "binary/pickle"

    def to_payload(self, value: Any) -> Payload:
        return Payload(metadata={"encoding": b"binary/pickle"}, data=pickle.dumps(value))

    def from_payload(self, payload: Payload, type_hint: Any = None) -> Any:
        return pickle.loads(payload.data)  # noqa: S301 - the tests' own


class BinaryFirst(CompositePayloadConverter):
    """Writes all values in an encoding of its own, and reads JSON too."""

    def __init__(self) -> None:
        super().__init__(_Pickles(), *DefaultPayloadConverter.default_encoding_payload_converters)


class Zipped(PayloadCodec):
    """Leaves alone what is not its own, as codecs do."""

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload(metadata={"encoding": b"binary/zip"}, data=zlib.compress(p.SerializeToString())) for p in payloads
        ]

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return [
            Payload.FromString(zlib.decompress(p.data)) if p.metadata.get("encoding") == b"binary/zip" else p
            for p in payloads
        ]


CODED = dataclasses.replace(DataConverter.default, payload_codec=Zipped())


async def _held(client: Client, id: str, count: int) -> None:
    async def are_held() -> bool:
        return len(await held_items(client, id)) == count

    await until(are_held, f"{count} held items")


@pytest.mark.parametrize(
    ("own", "of_the_run"),
    [
        (DataConverter(payload_converter_class=BinaryFirst), DataConverter.default),
        (CODED, CODED),
    ],
    ids=["another payload converter", "a codec"],
)
async def test_a_run_is_operated_with_any_converter(
    server: DevServer, own: DataConverter, of_the_run: DataConverter
) -> None:
    """Pause, resume, resize, progress, held and skip work with a client that has a codec or writes no JSON."""
    client = await connect(30, target_host=server.address, data_converter=own)
    async with working(await connect(30, target_host=server.address, data_converter=of_the_run)) as bench:
        handle = await bench.start(
            "Anything", "ChildWorkflow", [1, 2, 3, 4, 5, 6, 7, 8], {"on_failure": "hold", "shard_size": 3}
        )
        await _held(client, handle.id, 4)
        await update(client, handle.id, PAUSE)
        assert (await progress(client, handle.id))[""].paused
        await update(client, handle.id, RESUME)
        await update(client, handle.id, RESIZE, max_concurrency=7)
        assert (await progress(client, handle.id))[""].held == 4
        assert await release(client, handle.id, [1], name=None, skip=False, input=9) == [1]
        await _held(client, handle.id, 3)
        assert await release(client, handle.id, None, name=None, skip=True) == [3, 5, 7]
        assert (await handle.result())["outcomes"] == {"completed": 5, "failed": 3}


async def test_an_answer_that_is_encrypted_is_said(server: DevServer, client: Client) -> None:
    """Without the run's codec each command ends with 2 and one line; what an update has done is not denied."""
    coded = await connect(30, target_host=server.address, data_converter=CODED)
    async with working(coded) as bench:
        handle = await bench.start("Anything", "Sleep", [60, 60], {})

        async def begun() -> bool:
            return bool(await progress(coded, handle.id))

        await until(begun, "the fan-out")
        what = "encrypted: connect with the run's data converter"
        with pytest.raises(InvalidInput, match=f"{handle.id}: the answer is {what}"):
            await progress(client, handle.id)
        for command in ("progress", "held"):
            ended = await fanout(command, handle.id, address=server.address)
            assert (ended.code, ended.err) == (2, f"error: {handle.id}: the answer is {what}\n")
        ended = await fanout("pause", handle.id, address=server.address)
        assert (ended.code, ended.err) == (2, f"error: {handle.id}: has done it, but its answer is {what}\n")
        assert (await progress(coded, handle.id))[""].paused
        await handle.terminate()


async def test_a_result_that_is_encrypted_is_said(server: DevServer, client: Client) -> None:
    """A command that follows a run of another converter says that it has ended and what is missing, with 2."""
    coded = await connect(30, target_host=server.address, data_converter=CODED)
    async with working(coded) as bench:
        handle = await bench.start("ParentWorkflow", [1, 3], {})
        await handle.result()
        ended = await fanout("run", "--values", "[1]", "--id", handle.id, address=server.address)
        assert ended.code == 2
        last = ended.err.splitlines()[-1]
        assert (
            last
            == f"error: {handle.id}: has completed, but its result is encrypted: connect with the run's data converter"
        )
