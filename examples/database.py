"""SQLite files that several threads and processes write."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any


def create(path: Path, schema: str) -> None:
    """Makes the file with its tables."""
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.executescript(schema)


@contextlib.contextmanager
def transaction(path: Path) -> Iterator[sqlite3.Connection]:
    """A transaction that has the file to itself; what an error passes through is not committed."""
    with contextlib.closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
        db.execute("PRAGMA synchronous=NORMAL")
        db.execute("BEGIN IMMEDIATE")
        yield db
        db.execute("COMMIT")


def rows(path: Path, query: str, arguments: Sequence[Any] = ()) -> list[Any]:
    """What a query gives."""
    with contextlib.closing(sqlite3.connect(path, timeout=30)) as db:
        return db.execute(query, arguments).fetchall()
