"""Programs that a test needs and that this project cannot install: without one a test is skipped, in CI it fails."""

from __future__ import annotations

import os
import shutil

import pytest


def needs(program: str, install: str) -> str:
    """The path of the program. Where there is none: skips the test, or with CI=true fails it; says how to get it."""
    path = shutil.which(program)
    if path is None:
        reason = f"{program} is not here: {install}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path
