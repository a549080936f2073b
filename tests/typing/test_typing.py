"""What a type checker tells a user of `fan_out`."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.processes import run

ROOT = Path(__file__).parents[2]
SAMPLE = Path(__file__).with_name("fan_outs.py")


async def mypy(path: Path) -> tuple[int, str]:
    ended = await run(sys.executable, "-m", "mypy", "--strict", "--explicit-package-bases", str(path), cwd=ROOT)
    return ended.code, ended.out + ended.err


@pytest.mark.timeout(600)
async def test_mypy_knows_what_a_fan_out_returns() -> None:
    """Each form of work gives its own type of result, and every wrong use in the sample is an error."""
    code, said = await mypy(SAMPLE)
    assert code == 0, said


@pytest.mark.timeout(600)
async def test_the_sample_tells_right_from_wrong(tmp_path: Path) -> None:
    """A wrong use that is not ignored is an error, and so is one type for another: the sample can fail."""
    text = SAMPLE.read_text()
    sample = tmp_path / "sample.py"
    sample.write_text(text.replace("  # type: ignore[call-overload]", "").replace("list[int])", "list[str])"))
    code, said = await mypy(sample)
    assert code == 1, said
    assert said.count("[call-overload]") == text.count("ignore[call-overload]")
    assert said.count("[assert-type]") == 1
