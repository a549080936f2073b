"""What runs at the same time in one workflow: an asyncio task for each item, shard and page."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


class Tasks:
    """By id. `changed` is called at the end of each."""

    def __init__(self, changed: Callable[[], None]) -> None:
        self._changed = changed
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.error: BaseException | None = None
        """Of one that failed, which none may."""

    def __bool__(self) -> bool:
        return bool(self._tasks)

    def spawn(self, id: str, coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        self._tasks[id] = task
        task.add_done_callback(lambda done: self._ended(id, done))

    def cancel(self, id: str) -> None:
        self._tasks[id].cancel()

    def cancel_all(self) -> None:
        for task in self._tasks.values():
            task.cancel()

    def _ended(self, id: str, task: asyncio.Task[None]) -> None:
        del self._tasks[id]
        self._changed()
        if not task.cancelled() and task.exception() is not None:
            self.error = task.exception()
