"""How a process of ours ends: with the exit code that it means."""

from __future__ import annotations

import logging
import os
import sys
from contextlib import suppress
from enum import IntEnum
from typing import NoReturn


class ExitCode(IntEnum):
    """The same for every command; what a Job's podFailurePolicy reads."""

    DONE = 0
    RUN_FAILED = 1
    """The run failed, or breached its tolerance: running it again as it is will not help."""
    WRONG_INPUT = 2
    NO_SERVER = 3
    """Try again."""
    UNEXPECTED = 4
    """Try again, and report it."""
    INTERRUPTED = 130


def end(code: int) -> NoReturn:
    """Ends the process, with everything written, without the interpreter's own clean-up.

    That clean-up crashes now and then once a Temporal client has been used, with 134 or 139 after the work is done
    (temporalio/sdk-python issue 300).
    """
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)
