"""The commands of the runbooks exist, and answer."""

from __future__ import annotations

import asyncio
import functools
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from temporal_fanout.process.devserver import DevServer
from tests.conftest import Bench, until

RUNBOOKS = sorted((Path(__file__).parents[2] / "docs/runbooks").glob("*.md"))
BIN = Path(sys.executable).parent
CHANGE_SOMETHING = {"reset", "terminate", "update"}


class Command(NamedTuple):
    page: str
    words: tuple[str, ...]


def commands() -> list[Command]:
    """The lines of the code blocks that call `temporal` or `fanout`."""
    return [
        Command(path.stem, tuple(shlex.split(line)))
        for path in RUNBOOKS
        for block in re.findall(r"```console\n(.*?)```", path.read_text(), re.DOTALL)
        for line in block.splitlines()
        if line.split()[0] in {"temporal", "fanout"}
    ]


async def answer(words: tuple[str, ...], server: DevServer, fill: Mapping[str, str]) -> str:
    """What the command prints, with the words in capitals filled in, on a server where it can be asked."""
    filled = [re.sub(rf"\b({'|'.join(fill)})\b", lambda found: fill[found[1]], word) for word in words]
    process = await asyncio.create_subprocess_exec(
        BIN / filled[0], *filled[1:], "--address", server.address, "--namespace", "default",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    out, _ = await process.communicate()
    assert process.returncode == 0, f"{' '.join(filled)}: {out.decode()}"
    return out.decode()


@functools.cache
def told(*words: str) -> str:
    """What the program itself prints."""
    ended = subprocess.run([BIN / words[0], *words[1:]], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def flags(words: tuple[str, ...]) -> set[str]:
    """The long options that this command takes."""
    program, *rest = words
    path = [program]
    for word in rest:
        if word.startswith("-"):
            break
        path.append(word)
    text = told(*path, "--help")
    usage = re.search(rf"^Usage:\s+{' '.join(path)}\b", text, re.MULTILINE)
    assert usage, f"there is no {' '.join(path)}"
    if program == "temporal":
        text += told("temporal", "options")
    return set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", text))


@pytest.mark.parametrize("command", commands(), ids=lambda command: f"{command.page}: {' '.join(command.words[:4])}")
def test_each_command_and_its_options_exist(command: Command) -> None:
    """The program's own help knows the command and each of its options."""
    given = {word.partition("=")[0] for word in command.words if word.startswith("-")}
    assert given <= flags(command.words)


async def test_each_command_answers_and_leads_to_the_root_cause(server: DevServer, bench: Bench) -> None:
    """On a server, after a run with a failed item: the list of failed items names it, and its description says why."""
    run = await bench.start("ParentWorkflow", [1, 2, 3])
    await run.result()
    fill = {
        "PARENT_TYPE": "ParentWorkflow", "CHILD_TYPE": "ChildWorkflow", "WORKFLOW_TYPE": "ParentWorkflow",
        "CHILD_ID": f"{run.id}.1", "ID": run.id, "QUEUE": bench.task_queue, "NAMESPACE": "default",
    }  # fmt: skip
    asked = {command.words for command in commands() if command.words[0] == "temporal"}
    asked = {words for words in asked if not CHANGE_SOMETHING & set(words)}
    (failed,) = {words for words in asked if "RootWorkflowId" in words[-3] and '"Canceled"' in words[-3]}

    async def is_listed() -> bool:
        return fill["CHILD_ID"] in await answer(failed, server, fill)

    await until(is_listed, "the failed item in visibility")
    said = {words: await answer(words, server, fill) for words in sorted(asked)}
    why = said["temporal", "workflow", "describe", "--workflow-id", "CHILD_ID"]
    assert "Simulated failure for value 2" in why
    assert f"{run.id}.0" not in said[failed]
    assert '"in_flight":0' in said["temporal", "workflow", "query", "--workflow-id", "ID", "--type", "fanout_progress"]


def test_each_page_of_an_alert_has_the_same_parts() -> None:
    """What it means, what a user feels, how to look, how to mend, how to know that it is over."""
    parts = ["What it means", "What a user feels", "Look", "Mend", "When it is over"]
    for path in RUNBOOKS:
        if path.name != "README.md":
            assert re.findall(r"^## (.*)$", path.read_text(), re.MULTILINE) == parts, path.name


def test_links_between_the_pages_lead_somewhere() -> None:
    """Each relative link is a file."""
    for path in RUNBOOKS:
        for link in re.findall(r"\]\(([^)#]+)", path.read_text()):
            assert (path.parent / link).exists(), f"{path.name}: {link}"
