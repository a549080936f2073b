"""For what must not be left half done: undo steps, and steps after which there is no way back."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


async def to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Awaits the work, also if the workflow that does so is cancelled meanwhile: then it goes on to its end.

    A plain `await` in an `except` block would pass the cancellation on to the undo step that is running, and leave out
    those that follow.
    """
    task = asyncio.ensure_future(work)
    while not task.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(task)
    return task.result()
