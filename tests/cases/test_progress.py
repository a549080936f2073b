"""What is said of a run's progress is never taken back, whoever of its workflows is silent."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import uuid
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from temporalio.client import Client

from temporal_fanout.operations.steady import Pace, Progress, Steady, seconds_left, together
from temporal_fanout.process.devserver import DevServer
from tests.conftest import Bench, until
from tests.processes import a_queue, end, fanout, serving, start


def answer(completed: int = 0, total: int = 100, shards: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    own = {"total": total, "outcomes": {"completed": completed}, "open_shards": list(shards)}
    return {"": own | {"in_flight": 0, "held": 0, "max_concurrency": 10} | more}


def look(steady: Steady, answers: dict[str, dict[str, Any] | None]) -> Progress | None:
    """One look at the run `r`; who is not named is silent."""
    todo = steady.hear("r", answers.get("r"), is_run=True)
    while todo:
        id = todo.pop(0)
        todo += steady.hear(id, answers.get(id))
    return steady.add_up("r").get("")


TWO = answer(10, shards=("r.s0", "r.s1"))
DEEP = answer(1, shards=("r.s0.s0",))
LOOKS: list[tuple[str, list[tuple[dict[str, dict[str, Any] | None], tuple[int, list[str], bool] | None]]]] = [
    ("a run that has never answered is unknown", [({}, None), ({"r": answer(1)}, (1, [], False))]),
    ("a run that falls silent stays as it was", [({"r": answer(7)}, (7, [], False)), ({}, (7, [], True))]),
    (
        "a silent shard counts as it last answered, one that was never heard as nothing",
        [
            ({"r": TWO, "r.s0": answer(5)}, (15, ["r.s1"], False)),
            ({"r": TWO, "r.s1": answer(2)}, (17, ["r.s0"], False)),
            ({"r": TWO}, (17, ["r.s0", "r.s1"], False)),
            ({"r": TWO, "r.s0": answer(6), "r.s1": answer(2)}, (18, [], False)),
        ],
    ),
    (
        "a shard that has closed is counted by its parent alone",
        [
            ({"r": TWO, "r.s0": answer(5), "r.s1": answer(2)}, (17, [], False)),
            ({"r": answer(30, shards=("r.s1",)), "r.s1": answer(2)}, (32, [], False)),
            ({"r": answer(30, shards=("r.s1",))}, (32, ["r.s1"], False)),
        ],
    ),
    (
        "the open shards of a silent run, and of a silent shard, are heard all the same",
        [
            ({"r": TWO, "r.s0": DEEP, "r.s0.s0": answer(3), "r.s1": answer()}, (14, [], False)),
            ({"r.s1": answer(4), "r.s0.s0": answer(6)}, (21, ["r.s0"], True)),
        ],
    ),
    (
        "a run that has taken the place of another begins at nothing",
        [
            ({"r": TWO, "r.s0": answer(5), "r.s1": answer(5)}, (20, [], False)),
            ({"r": answer(0, shards=("r.s0",))}, (0, ["r.s0"], False)),
        ],
    ),
]  # fmt: skip


@pytest.mark.parametrize(("looks"), [looks for _, looks in LOOKS], ids=[what for what, _ in LOOKS])
def test_answers_are_added_up(
    looks: list[tuple[dict[str, dict[str, Any] | None], tuple[int, list[str], bool] | None]],
) -> None:
    """Look by look: what has ended, which shards are silent, and whether the run is."""
    steady = Steady()
    for answers, expected in looks:
        one = look(steady, answers)
        assert (one and (one.finished, one.silent, one.is_stale)) == expected


@dataclass
class Node:
    """A workflow of a run that is simulated."""

    id: str
    todo: int
    done: int = 0
    open: list[Node] = field(default_factory=list)
    opened: int = 0

    def everyone(self) -> list[Node]:
        return [self, *(below for shard in self.open for below in shard.everyone())]

    def finished(self) -> int:
        return self.done + sum(shard.finished() for shard in self.open)

    def happens(self, what: int) -> None:
        """An item ends, a shard opens with half of what is left, or the first shard that has nothing left closes."""
        if what == 0 and self.todo:
            self.todo, self.done = self.todo - 1, self.done + 1
        elif what == 1 and self.todo > 1:
            half = self.todo // 2
            self.open.append(Node(f"{self.id}.s{self.opened}", half))
            self.todo, self.opened = self.todo - half, self.opened + 1
        elif what == 2:
            ended = next((shard for shard in self.open if not shard.todo and not shard.open), None)
            if ended is not None:
                self.open.remove(ended)
                self.done += ended.done

    def answers(self) -> dict[str, Any]:
        return answer(self.done, 40, tuple(shard.id for shard in self.open), in_flight=min(1, self.todo))


class Run:
    """All of them; one that has closed still answers as it was when it closed."""

    def __init__(self) -> None:
        self.root = Node("r", 40)
        self.met: dict[str, Node] = {}

    def happens(self, who: int, what: int) -> None:
        everyone = self.root.everyone()
        self.met |= {node.id: node for node in everyone}
        everyone[who % len(everyone)].happens(what)

    def ask(self, id: str) -> dict[str, Any]:
        self.met |= {node.id: node for node in self.root.everyone()}
        return self.met[id].answers()


EVENTS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 2)), max_size=8)
"""Who of the workflows, and what happens to it."""
ASKED = st.tuples(EVENTS, st.booleans())
"""What happens before a workflow is asked, and whether it answers."""


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(EVENTS, st.lists(ASKED, min_size=1, max_size=6)), max_size=12))
def test_what_has_ended_is_never_less_than_was_said(looks: list[tuple[Any, list[tuple[Any, bool]]]]) -> None:
    """Whatever happens between two questions and whoever is silent: what is said to have ended never goes down, is
    never more than what has, and is all of it once everyone answers in a quiet moment."""
    run, steady, said = Run(), Steady(), 0

    def one_look(asked: list[tuple[Any, bool]], quiet: bool = False) -> Progress | None:
        todo, n, is_run = ["r"], 0, True
        while todo:
            events, answers = ([], True) if quiet else asked[n % len(asked)]
            n += 1
            for who, what in events:
                run.happens(who, what)
            id = todo.pop(0)
            todo += steady.hear(id, run.ask(id) if answers else None, is_run)
            is_run = False
        return steady.add_up("r").get("")

    for before, asked in looks:
        for who, what in before:
            run.happens(who, what)
        one = one_look(asked)
        if one is not None:
            assert said <= one.finished <= run.root.finished()
            assert one.waiting >= 0
            said = one.finished
    one = one_look([], quiet=True)
    assert one is not None
    assert (one.finished, one.silent, one.is_stale) == (run.root.finished(), [], False)
    assert one.finished >= said


def at(finished: int, total: int = 4000, **more: Any) -> Progress:
    return Progress(total, outcomes=Counter(completed=finished), **more)


@pytest.mark.parametrize(
    ("looks", "rate", "left"),
    [
        ([], None, None),
        ([(0.0, at(5))], None, None),
        ([(0.0, at(0)), (0.5, at(50))], None, None),
        ([(0.0, at(0)), (10.0, at(500))], 50.0, 70.0),
        # slow for ten minutes, then fast: the last half minute counts
        ([(0.0, at(0)), (580.0, at(1000)), (590.0, at(2000)), (600.0, at(3000))], 100.0, 10.0),
        ([(0.0, at(10)), (20.0, at(10))], 0.0, None),
        ([(0.0, at(0)), (10.0, at(500)), (15.0, at(500, paused=True)), (99.0, at(500)), (109.0, at(600))], 10.0, 340.0),
        ([(0.0, at(0)), (10.0, at(500, silent=["s"]))], 50.0, None),
        ([(0.0, at(0)), (10.0, at(500, is_stale=True))], 50.0, None),
        ([(0.0, at(0)), (100.0, at(500))], 5.0, 700.0),
    ],
)
def test_the_time_left_comes_from_recent_ends(
    looks: list[tuple[float, Progress]], rate: float | None, left: float | None
) -> None:
    """Of the last half minute, without pauses; none where nothing ends or not all is heard."""
    pace = Pace()
    for now, one in looks:
        pace.look(now, one)
    assert pace.items_per_second == rate
    assert seconds_left(looks[-1][1] if looks else at(0), rate) == left


def test_fan_outs_of_one_run_are_one_line() -> None:
    """Their items add up, so a line about both never goes back from one to the other."""
    one = together({"left": at(3, 10, in_flight=2), "right": at(4, 20, held=1, silent=["s"])})
    assert (one.total, one.finished, one.in_flight, one.held, one.silent) == (30, 7, 2, 1, ["s"])


async def test_a_watched_run_ends_with_all_of_it(bench: Bench, server: DevServer) -> None:
    """`progress --watch` goes on until the run has ended, also between two fan-outs of it, and never goes back."""
    handle = await bench.start("Anything", "Sleep", [0.2] * 60, {"max_concurrency": 4, "shard_size": 10})
    ended = await fanout("progress", handle.id, "--watch", "--output", "json", address=server.address)
    assert ended.code == 0, ended.err
    done = [sum(json.loads(line)["outcomes"].values()) for line in ended.out.splitlines()]
    assert done == sorted(done)
    assert done[-1] == 60


@pytest.mark.timeout(600)
async def test_progress_never_goes_back_while_workers_die(server: DevServer, client: Client) -> None:
    """A run of shards whose workers are killed, one after the other: neither `run` nor `progress --watch` ever says
    less than before, and shards that do not answer are said."""
    queue, id = a_queue(), f"steady-{uuid.uuid4().hex[:8]}"
    args = "worker", "--task-queue", queue
    options = ["--options", '{"shard_size": 20, "starts_per_second": 20}', "--max-concurrency", "40"]
    values = json.dumps(list(range(1, 1001, 2)))
    async with contextlib.AsyncExitStack() as workers:
        first = await workers.enter_async_context(serving(*args, address=server.address))
        run = await start(
            "run", "--values", values, "--id", id, "--task-queue", queue, *options, address=server.address
        )

        async def some() -> bool:
            said = await fanout("progress", id, "--output", "json", address=server.address)
            return bool(said.out) and json.loads(said.out)["outcomes"].get("completed", 0) >= 60

        await until(some, "some outcomes", 60)
        watch = await start("progress", id, "--watch", "--output", "json", address=server.address)
        assert watch.stdout
        lines = [json.loads(await watch.stdout.readline())]
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
        while not (lines[-1]["is_stale"] or lines[-1]["silent_shards"]):
            lines.append(json.loads(await watch.stdout.readline()))
        assert lines[-1]["seconds_left"] is None
        await workers.enter_async_context(serving(*args, address=server.address))
        rest = await end(watch, 400)
        ended = await end(run, 60)
    assert (ended.code, rest.code) == (0, 0)
    lines += [json.loads(line) for line in rest.out.splitlines()]
    done = [sum(line["outcomes"].values()) for line in lines]
    assert done == sorted(done)
    assert done[-1] == 500
    said = [int(n) for n in re.findall(r"^(\d+) of 500 items, ", ended.err, re.MULTILINE)]
    assert said == sorted(said)
    assert said
