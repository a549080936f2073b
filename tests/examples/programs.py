"""The examples as a user runs them: a process, started by the one command of their README."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
import signal
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from tests.conftest import until

ROOT = Path(__file__).parents[2]
_VARYING = (
    (r"(127\.0\.0\.1|localhost):\d+", r"\1:PORT"),
    (r"\b(orders|pipeline|deployment|report)-[0-9a-f]{8}\b", r"\1-ID"),
    (r"\S*/fanout-example-\w+", "DIRECTORY"),
)


@dataclass
class Ended:
    code: int
    out: str
    err: str
    directory: Path
    """Where the example left its files."""

    @property
    def id(self) -> str:
        """Of the run."""
        found = re.search(r"^started (\S+?):?(?: |$)", self.err, re.MULTILINE)
        assert found, self.err
        return found[1]


@dataclass
class Program:
    """An example at work; its temporary directory, which no other process has, tells what it has started."""

    process: asyncio.subprocess.Process
    temporary: Path

    async def end(self, seconds: float = 240) -> Ended:
        """Waits for its end, at which it may have left no process, and returns its exit code and what it said."""
        said = asyncio.create_task(self.process.communicate())
        await until(self._has_ended, "the end of the example", seconds)
        assert self._left() == []
        out, err = await said
        return Ended(self.process.returncode or 0, out.decode(), err.decode(), self.directory)

    async def _has_ended(self) -> bool:
        return self.process.returncode is not None

    @property
    def directory(self) -> Path:
        made = [path for path in self.temporary.iterdir() if path.is_dir()]
        assert len(made) == 1, made
        return made[0]

    def _left(self) -> list[str]:
        return [
            " ".join(process.cmdline())
            for process in psutil.process_iter()
            if process.pid != os.getpid() and _temporary_of(process) == str(self.temporary)
        ]


def _temporary_of(process: psutil.Process) -> str | None:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.environ().get("TMPDIR")
    except psutil.Error:
        return None


@contextlib.asynccontextmanager
async def started(module: str, *args: str, temporary: Path, address: str | None = None) -> AsyncIterator[Program]:
    """`python -m MODULE` until the block ends, against this server or against none: then it starts its own."""
    env = {key: value for key, value in os.environ.items() if not key.startswith("TEMPORAL_")}
    env |= {"TMPDIR": str(temporary)} | ({"TEMPORAL_ADDRESS": address} if address else {})
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *args, env=env, cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield Program(process, temporary)
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), 60)


def readme(name: str) -> tuple[list[str], list[str]]:
    """The command that the README of an example shows, as words after `python -m`, and the lines that follow it."""
    text = (ROOT / "examples" / name / "README.md").read_text()
    (block,) = re.findall(r"```console\n\$ (.*?)```", text, re.DOTALL)
    command, *lines = block.splitlines()
    words = shlex.split(command)
    assert words[:2] == ["python", "-m"], command
    return words[2:], masked(lines)


def masked(lines: list[str]) -> list[str]:
    """The lines without what is another each time."""
    for pattern, stand_in in _VARYING:
        lines = [re.sub(pattern, stand_in, line) for line in lines]
    return lines


@dataclass
class AsShown:
    """One run by the README's command, and what the README shows of it."""

    ended: Ended
    shown: list[str]

    def check(self) -> None:
        """It has exited with 0, and has said what the README shows."""
        assert self.ended.code == 0, self.ended.err
        assert masked((self.ended.err + self.ended.out).splitlines()) == self.shown


async def run_as_shown(name: str, temporary: Path) -> AsShown:
    """Runs an example without a server, by the command of its README."""
    words, shown = readme(name)
    async with started(*words, temporary=temporary) as program:
        ended = await program.end()
        return AsShown(ended, shown)
