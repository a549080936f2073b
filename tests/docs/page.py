"""A page of commands and what they show: read, run as a reader does, and compared.

In a block of `console`, a line with `$ ` is a command, and what follows is what it shows. A line of `…` stands for any
lines; `…` at the end of a line for the rest of it. A block without a command is the rest of what the first command of
its section shows: that one goes on while the others are run, as in another terminal. Where that block begins with a
line of `^C`, the command is first interrupted. What a list shows only a little later may be asked for again.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
SECONDS = 600.0
"""For one command: generous, since a machine may be busy with other tests."""


@dataclass
class Command:
    """A line to type, and the lines that it shows, in the end."""

    line: str
    shown: list[str] = field(default_factory=list)
    rest: list[str] | None = None
    """What it shows once the other commands of its section are done; none where it ends before them."""


@dataclass
class Section:
    title: str
    commands: list[Command]


def sections(text: str) -> list[Section]:
    """The sections of a page that have commands."""
    found = []
    for part in re.split(r"^##+ ", text, flags=re.MULTILINE)[1:]:
        section = Section(part.partition("\n")[0], [])
        for block in re.findall(r"^```console\n(.*?)^```", part, re.MULTILINE | re.DOTALL):
            lines = block.splitlines()
            if not lines[0].startswith("$ "):
                section.commands[0].rest = lines
                continue
            for line in lines:
                if line.startswith("$ "):
                    section.commands.append(Command(line.removeprefix("$ ")))
                else:
                    section.commands[-1].shown.append(line)
        if section.commands:
            found.append(section)
    return found


def moved(section: Section, ports: Mapping[str, int | str]) -> Section:
    """The section with others instead of ports of the page's, which may be taken. The keys are patterns."""
    commands = []
    for command in section.commands:
        line = command.line
        for pattern, port in ports.items():
            line = re.sub(pattern, str(port), line)
        commands.append(replace(command, line=line))
    return Section(section.title, commands)


async def check(section: Section, env: Mapping[str, str]) -> None:
    """Runs the commands of a section; raises `AssertionError` where one shows something else, or fails."""
    async with contextlib.AsyncExitStack() as stack:
        waiting = None
        for command in section.commands:
            if EVENTUAL.match(command.line):
                await _shows_soon(command, env)
                continue
            run = await stack.enter_async_context(running(command, env))
            if command.rest is not None:
                waiting = run, command, command.rest
                await run.shows(command.shown)
            else:
                _compare(command, command.shown, await run.end())
        if waiting:
            run, command, rest = waiting
            if rest[0] == "^C":
                rest = rest[1:]
                run.interrupt()
            _compare(command, command.shown + rest, await run.end())


EVENTUAL = re.compile(r"temporal workflow (list|count) |temporal task-queue describe |fanout results .*--merged")
"""What is read from an index of the server's, which is a little behind."""


async def _shows_soon(command: Command, env: Mapping[str, str]) -> None:
    for left in reversed(range(10)):
        async with running(command, env) as run:
            lines = await run.end()
        if left == 0 or differs(command.shown, lines) is None:
            break
        await asyncio.sleep(1)
    _compare(command, command.shown, lines)


def _compare(command: Command, shown: list[str], lines: list[str]) -> None:
    reason = differs(shown, lines)
    assert reason is None, f"$ {command.line}\n{reason}\nIt showed:\n" + "\n".join(lines)


class Run:
    """A command that runs, with both its streams as a terminal shows them."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.lines: list[str] = []
        self._read = asyncio.create_task(self._lines())
        self._more = asyncio.Event()

    async def _lines(self) -> None:
        assert self.process.stdout
        async for line in self.process.stdout:
            self.lines.append(line.decode().rstrip("\n"))
            self._more.set()
        self._more.set()

    async def shows(self, shown: list[str]) -> None:
        """Waits until it has shown this and no more, and goes on."""
        async with asyncio.timeout(SECONDS):
            while differs(shown, self.lines) is not None:
                assert not self._read.done(), "it ended:\n" + "\n".join(self.lines)
                self._more.clear()
                await self._more.wait()

    def interrupt(self) -> None:
        """As Ctrl-C does, which all that runs in a terminal gets."""
        os.killpg(self.process.pid, signal.SIGINT)

    async def end(self) -> list[str]:
        """All that it has shown, once it has ended well."""
        async with asyncio.timeout(SECONDS):
            await self._read
            code = await self.process.wait()
        assert code == 0, f"exit code {code}:\n" + "\n".join(self.lines)
        return self.lines


@contextlib.asynccontextmanager
async def running(command: Command, env: Mapping[str, str]) -> AsyncIterator[Run]:
    """The command in a shell, from the project's folder; ended, with all that it started, if it has not ended."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    # a reader's terminal is not that of a make, whose ARGS would be those of the page's commands too
    own = {key: value for key, value in os.environ.items() if key != "ARGS" and not key.startswith("MAKE")}
    process = await asyncio.create_subprocess_exec(
        "bash", "-c", command.line, cwd=ROOT, env={**own, "PATH": path, "PYTHONUNBUFFERED": "1", **env},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    run = Run(process)
    try:
        yield run
    finally:
        if process.returncode is None:
            run.interrupt()
        await asyncio.wait_for(process.wait(), 60)


VARIES = (
    (r"parent-child-workflow-\d+", "parent-child-workflow-1"),
    (r"\.retry-[0-9a-f]{10}", ".retry-1"),
    (r"(127\.0\.0\.1|localhost):\d+", r"\1:1"),
    (r"\bin \d+\.\d s\b", "in 1 s"),
    (r'("execution_time": )[\d.]+', r"\1 1"),
    (r"^(sequential|parallel) +[\d.]+ +[\d.]+", r"\1 1 1"),
    (r"^speed-up: [\d.]+", "speed-up: 1"),
    (r"^\d+ of (\d+) items: .*\(at most (\d+)\).*", r"1 of \1 items, at most \2"),
    (r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b", "RUN"),
    (r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "TIME"),
    (r"\b(now|\d+ (second|minute)s? ago)(?=\s*$)", "AGO"),
    (r"(?<=Workflow) \([\d.]+m?s\)$", " (1ms)"),
    (r"\b\d+@[\w.-]+", "1@host"),
    (r"^(job\.batch/[a-z-]+)-\d{10} ", r"\1-1 "),
    (r" (\d+m)?\d+s$", " AGE"),
    (r"^  HistoryLength +\d{2,3}$", "HistoryLength 100"),
    (r"deleted from [\w-]+ namespace$", "deleted from default namespace"),
    (r"^(\s*UNVERSIONED +\w+ +1@host ).*", r"\1"),
    (r"^(\s*UNVERSIONED +\w+ +)[1-9]\d* +[\d.hm ]+s( +[-+.e\d]+){3}$", r"\1 some"),
    (r"^(\s*UNVERSIONED +\w+ +)0 +0s( +[-+.e\d]+){3}$", r"\1 none"),
    (r"\s+", " "),
)
"""What is another each time, and what stands for it."""

PASSING = re.compile(r"\d+ of \d+ items, \d+ in flight|held for a person: 1;")
"""What is shown only if it lasts for long enough."""


def normal(line: str) -> str:
    for pattern, by in VARIES:
        line = re.sub(pattern, by, line)
    return line.strip()


LISTED = re.compile(r"(Running|Completed|Failed) \S+ \w+ AGO$")
"""A row of a list of workflows, which has those that were started at once in any order."""


def in_order(lines: list[str]) -> list[str]:
    """The lines, with rows of a list that follow one another sorted."""
    groups = itertools.groupby(lines, lambda line: LISTED.match(normal(line)) is not None)
    return [line for listed, group in groups for line in (sorted(group, key=normal) if listed else group)]


def differs(shown: list[str], lines: list[str]) -> str | None:
    """The first line of the page that is not among what was shown, in its place; none where all are."""
    left = [normal(line) for line in in_order(lines) if not PASSING.match(line)]
    while left and not left[-1]:
        left.pop()
    shown = in_order(shown)
    gap = False
    for line in shown:
        if line == "…":
            gap = True
            continue
        wanted = normal(line)
        start = wanted.removesuffix(" …")
        at = next(
            (n for n, one in enumerate(left) if one == wanted or (start != wanted and one.startswith(start))), None
        )
        if at is None or (at > 0 and not gap):
            return f"The page shows, and the command does not: {line}"
        left, gap = left[at + 1 :], False
    return f"The command shows, and the page does not: {left[0]}" if left and not gap else None
