"""How a process of ours ends: when it is told to, and with the exit code that it means."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from collections.abc import Awaitable
from contextlib import suppress
from enum import IntEnum
from typing import NoReturn, TypeVar

T = TypeVar("T")


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


def on_signals() -> asyncio.Event:
    """An event that SIGTERM or SIGINT sets: Python's own handling would end the process with work in hand."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def unless(stop: asyncio.Event, work: Awaitable[T]) -> T | None:
    """What `work` gives, or none if `stop`, which ends it, comes first."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if task.done():
        return task.result()
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
    return None


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
