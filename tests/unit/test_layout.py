"""The rules of who imports whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2] / "src" / "temporal_fanout"

MAY_IMPORT: dict[str, set[str]] = {
    "checks": set(),
    "results": {"checks"},
    "options": {"checks"},
    "source": {"checks"},
    "metrics": {"checks", "results"},
    "wire": {"checks", "options", "results", "source"},
    "engine": {"checks", "metrics", "options", "results", "source", "wire"},
    "batches": {"checks", "source"},
    "sources": {"checks", "source"},
    "histories": {"checks", "options", "results", "source", "wire"},
    "operations": {"checks", "results", "wire"},
    "retries": {"checks", "engine", "histories", "operations", "options", "results", "source", "wire"},
    "plugin": {"engine", "metrics", "results", "retries", "sources", "wire"},
    "exporter": {"checks", "histories", "metrics", "operations", "process", "results", "wire"},
    "process": {"checks", "metrics", "operations"},
    "lab": {
        "batches", "checks", "engine", "histories", "metrics", "operations", "options", "plugin", "process", "results",
        "source", "wire",
    },
}  # fmt: skip
"""By package: what it may import of the others. `cli` may import everything, and nothing imports it."""


def _concern(module: str) -> str:
    return module.removeprefix("temporal_fanout").lstrip(".").partition(".")[0]


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("temporal_fanout"):
            own = _concern(node.module or "")
            found |= {own} if own else {alias.name for alias in node.names}
    return found


@pytest.mark.parametrize("concern", MAY_IMPORT)
def test_a_package_imports_only_what_its_concern_needs(concern: str) -> None:
    """Each package imports only those that stand above it, and none imports the lab or the command line."""
    paths = [ROOT / f"{concern}.py"] if (ROOT / f"{concern}.py").exists() else list((ROOT / concern).rglob("*.py"))
    assert paths, concern
    for path in paths:
        extra = _imports(path) - MAY_IMPORT[concern] - {concern}
        assert not extra, f"{path.relative_to(ROOT)} imports {extra}"


def test_every_package_has_a_rule() -> None:
    """A new package or module needs a line of its own above."""
    found = {path.stem for path in ROOT.iterdir() if path.suffix == ".py" or (path.is_dir() and path.name[0] != "_")}
    assert found - {"__init__"} == MAY_IMPORT.keys() | {"cli"}
