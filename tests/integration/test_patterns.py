"""docs/patterns.md: every pattern runs as it stands, and returns what the page says."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import sys
import uuid
from pathlib import Path
from types import ModuleType

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from temporal_fanout import FanOutPlugin
from temporal_fanout.operations.updates import held_items
from temporal_fanout.process.devserver import DevServer
from tests.conftest import until
from tests.processes import fanout

PAGE = (Path(__file__).parents[2] / "docs/patterns.md").read_text()
PATTERNS = re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]


@pytest.fixture
def module(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The code of a pattern as a module."""
    found = re.search(r"```python\n(.*?)```", request.param, re.DOTALL)
    assert found
    name = f"pattern_{uuid.uuid4().hex[:8]}"
    path = tmp_path / f"{name}.py"
    path.write_text(found[1])
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("module", "text"), [(p, p) for p in PATTERNS], ids=[p.splitlines()[0] for p in PATTERNS], indirect=["module"]
)
async def test_a_pattern_runs_as_it_stands(server: DevServer, client: Client, module: ModuleType, text: str) -> None:
    """The workflows and activities of a pattern, on a worker with the plugin, return what the page shows, after what
    the page says a person does meanwhile."""
    own = [thing for thing in vars(module).values() if getattr(thing, "__module__", "") == module.__name__]
    said = re.search(r"^`(\w+)` with `(.*?)`.*?returns:\n\n```json\n(.*?)```", text, re.DOTALL | re.MULTILINE)
    assert said
    name, given, returned = said.groups()
    id = f"pattern-{name}-{uuid.uuid4().hex[:6]}"
    async with Worker(
        client,
        task_queue=id,
        workflows=[thing for thing in own if hasattr(thing, "__temporal_workflow_definition")],
        activities=[thing for thing in own if hasattr(thing, "__temporal_activity_definition")],
        plugins=[FanOutPlugin()],
    ):
        handle = await client.start_workflow(name, json.loads(given), id=id, task_queue=id)
        for command in re.findall(r"after\n?`fanout ([^`]+)`", text):
            await until(lambda: held_items(client, id), "the held item")
            ended = await fanout(*shlex.split(command.replace(" ID ", f" {id} ")), address=server.address)
            assert ended.code == 0, ended.err
        assert await handle.result() == json.loads(returned)
