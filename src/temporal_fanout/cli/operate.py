"""`fanout progress`, `pause`, `resume`, `resize`, `abort`, `held`, `retry-item` and `skip`"""

from __future__ import annotations

import asyncio
import json
import time
from collections import defaultdict
from typing import Annotated, Any

import typer
from rich.table import Table
from temporalio.client import Client

from temporal_fanout.checks import InvalidInput
from temporal_fanout.cli.output import Format, counted, note, out, print_json
from temporal_fanout.cli.run import PATIENCE_SECONDS, parse_json, with_client
from temporal_fanout.operations.failing import Told, failing
from temporal_fanout.operations.progress import Progress, progress, silent_in
from temporal_fanout.operations.steady import Pace, Steady, seconds_left
from temporal_fanout.operations.updates import held_items, is_running, release, update
from temporal_fanout.process.exit import ExitCode
from temporal_fanout.wire.protocol import ABORT, PAUSE, RESIZE, RESUME

Id = Annotated[str, typer.Argument(metavar="ID", help="The run's workflow id.")]
Name = Annotated[str | None, typer.Option(help="The fan-out's name, where the run has several. [default: all]")]
Output = Annotated[Format, typer.Option(help="How to write the result.")]
Indexes = Annotated[list[int] | None, typer.Argument(metavar="[INDEX]...", help="Items, by their index.")]
All = Annotated[bool, typer.Option("--all", help="Every item that is held.")]

_LOOK_SECONDS = 2.0
_INPUT_CHARACTERS = 100


def show_progress(
    id: Id,
    watch: Annotated[bool, typer.Option(help="Go on until the run has ended.")] = False,
    output: Output = Format.TABLE,
) -> int:
    """How far a run is: items by outcome, in flight, held and waiting, its rate and the time left."""

    async def show(client: Client) -> int:
        steady, told, paces = Steady(), Told(), defaultdict[str, Pace](Pace)
        while True:
            is_open = await is_running(client, id)
            now = await progress(client, id, steady=steady)
            found = await failing(client, silent_in(id, now)) if is_open else []
            for line in told.news(found, id):
                note(line)
            for name, one in now.items():
                paces[name].look(time.monotonic(), one)
                rate = paces[name].items_per_second
                _print_progress(name, one, one.items_per_second if rate is None else rate, output)
            if not now and not (watch and found):
                if not found:
                    note(f"{id} has no fan-out, or no worker answers for it: does one poll its task queue?")
                return ExitCode.WRONG_INPUT
            if not (watch and is_open):
                return ExitCode.DONE
            await asyncio.sleep(_LOOK_SECONDS)

    return with_client(show, PATIENCE_SECONDS)


def pause(id: Id, name: Name = None) -> int:
    """Start no item of a run; what is in flight finishes."""
    return _asked(id, PAUSE, "paused", f"go on with: fanout resume {id}", name=name)


def resume(id: Id, name: Name = None) -> int:
    """Start items of a paused run again."""
    return _asked(id, RESUME, "resumed", "", name=name)


def resize(
    id: Id,
    max_concurrency: Annotated[int, typer.Argument(metavar="N", min=1, help="Items in flight, at most.")],
    name: Name = None,
) -> int:
    """Have so many items of a run in flight, more or fewer than before; what is above that finishes."""
    return _asked(id, RESIZE, "resized", "", name=name, max_concurrency=max_concurrency)


def abort(
    id: Id,
    cancel: Annotated[bool, typer.Option(help="Cancel what is in flight, too, instead of waiting for it.")] = False,
    name: Name = None,
) -> int:
    """End a run early: start nothing more. It then fails with FanOutStopped and what became of its items."""
    return _asked(id, ABORT, "aborted", f"what became of its items: fanout results {id}", name=name, cancel=cancel)


def held(id: Id, output: Output = Format.TABLE) -> int:
    """The items of a run that wait for a person (option on_failure: hold), with their root causes."""

    async def show(client: Client) -> int:
        items = await held_items(client, id)
        if output is Format.JSON:
            print_json(items)
            return ExitCode.DONE
        table = Table(box=None, pad_edge=False)
        for heading in ("item", "input", "outcome", "root cause"):
            table.add_column(heading, overflow="fold")
        for item in items:
            cause = f"{item['type']}: {item['error']}"
            table.add_row(str(item["index"]), _input_of(item), item["outcome"], cause)
        out().print(table)
        if items:
            note(f"{len(items)} held; fanout retry-item {id} INDEX runs one again, fanout skip {id} INDEX lets it fail")
        else:
            note("no item is held")
        return ExitCode.DONE

    return with_client(show, PATIENCE_SECONDS)


def _input_of(item: dict[str, Any]) -> str:
    """The input of a held item on one line; one that is cut ends with …"""
    is_cut, value = item.get("input_truncated", False), item["input"]
    text = value if is_cut and isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _INPUT_CHARACTERS and not is_cut else text[: _INPUT_CHARACTERS - 1] + "…"


def retry_item(
    id: Id,
    indexes: Indexes = None,
    all: All = False,
    input: Annotated[str | None, typer.Option(metavar="JSON", help="Another input, instead of the item's.")] = None,
    name: Name = None,
) -> int:
    """Run held items of a run again."""
    given: dict[str, Any] = {}
    if input is not None:
        given["input"] = parse_json("--input", input, object)
    return _release(id, indexes, all, name, False, given)


def skip(id: Id, indexes: Indexes = None, all: All = False, name: Name = None) -> int:
    """Let held items of a run be failures."""
    return _release(id, indexes, all, name, True, {})


def _release(id: str, indexes: list[int] | None, all: bool, name: str | None, skip: bool, given: dict[str, Any]) -> int:
    if bool(indexes) == all:
        raise InvalidInput("INDEX: name the items, or give --all")

    async def ask(client: Client) -> int:
        done = await release(client, id, indexes or None, name=name, skip=skip, **given)
        note(f"{id}: {len(done)} items {'skipped' if skip else 'run again'}: {', '.join(map(str, done)) or 'none'}")
        return ExitCode.DONE

    return with_client(ask, PATIENCE_SECONDS)


def _asked(id: str, what: str, said: str, then: str, **given: Any) -> int:
    async def ask(client: Client) -> int:
        await update(client, id, what, **given)
        note(f"{id} is {said}" + (f"; {then}" if then else ""))
        for name, one in (await progress(client, id)).items():
            _print_progress(name, one, one.items_per_second, Format.TABLE)
        return ExitCode.DONE

    return with_client(ask, PATIENCE_SECONDS)


def _print_progress(name: str, one: Progress, rate: float | None, output: Format) -> None:
    left = seconds_left(one, rate)
    if output is Format.JSON:
        print_json(
            {
                "name": name,
                "total": one.total,
                "outcomes": {outcome: n for outcome, n in one.outcomes.items() if n},
                "in_flight": one.in_flight,
                "held": one.held,
                "waiting": one.waiting,
                "silent_shards": one.silent_shards,
                "is_stale": one.is_stale,
                "paused": one.paused,
                "stopped": one.stopped,
                "max_concurrency": one.max_concurrency,
                "items_per_second": rate,
                "seconds_left": left,
            }
        )
        return
    parts = [f"{one.finished} of {one.total} items: {counted(one.outcomes) or 'none ended'}"]
    parts += [f"{one.in_flight} in flight (at most {one.max_concurrency})", f"{one.waiting} waiting"]
    parts += [f"{one.held} held"] if one.held else []
    parts += ["it does not answer now, so more has ended"] if one.is_stale else []
    parts += [f"{one.silent_shards} shards do not answer, so more has ended"] if one.silent_shards else []
    parts += ["paused"] if one.paused else []
    parts += [one.stopped] if one.stopped else []
    parts += [f"{rate:.1f}/s"] if rate else []
    parts += [f"about {left:.0f} s left"] if left else []
    out().print((f"{name}: " if name else "") + "; ".join(parts))
