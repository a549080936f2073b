"""What a test needs and this project cannot install: without it a test is skipped, in CI it fails."""

from __future__ import annotations

import os
import shutil
from typing import NoReturn

import pytest


def missing(reason: str) -> NoReturn:
    """Skips the test, or with CI=true fails it; the reason says what to do."""
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


def needs(program: str, install: str) -> str:
    """The path of the program."""
    path = shutil.which(program)
    if path is None:
        missing(f"{program} is not here: {install}")
    return path
