"""What README and docs say is what the code does."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from temporal_fanout import FanOutOptions, FanOutPlugin
from temporal_fanout.cli import app
from temporal_fanout.lab.scenarios import SCENARIOS

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


async def test_the_readmes_first_example_runs(client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The workflows at the top of the README, in a module as they stand, run on a worker made as it says."""
    path = tmp_path / "readme_example.py"
    path.write_text(EXAMPLES[0])
    monkeypatch.syspath_prepend(tmp_path)
    spec = importlib.util.spec_from_file_location("readme_example", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "readme_example", module)
    spec.loader.exec_module(module)
    workflows = [module.Nightly, module.Invoice]
    async with Worker(client, task_queue="readme", workflows=workflows, plugins=[FanOutPlugin()]):
        result = await client.execute_workflow("Nightly", ["ada", "grace"], id="readme", task_queue="readme")
    assert result["successful_results"][1] == {"value": "grace", "result": "invoice for grace"}


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_every_example_imports_what_is_there(example: str) -> None:
    """Each Python block compiles, and what it imports can be imported."""
    compile(example, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    for node in ast.walk(ast.parse(example)):
        if isinstance(node, ast.ImportFrom):
            module = importlib.import_module(str(node.module))
            assert all(hasattr(module, name.name) for name in node.names)


def test_the_page_of_options_has_every_option_and_its_default() -> None:
    """docs/options.md and FanOutOptions name the same options."""
    rows = re.findall(r"^\| `(\w+)` \| ([^|]+) \|", (ROOT / "docs/options.md").read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == [f.name for f in fields(FanOutOptions)]
    defaults = FanOutOptions()
    for name, said in rows:
        if said.strip().isdecimal():
            assert getattr(defaults, name) == int(said)


def test_the_readme_names_every_command_and_known_scenarios() -> None:
    """The table of commands is whole, and a scenario that the README names exists."""
    for command in app.registered_commands:
        assert f"`fanout {command.name}" in README
    assert set(re.findall(r"SCENARIO=([\w-]+)", README)) <= set(SCENARIOS)
