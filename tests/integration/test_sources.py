"""Sources, on a real server: files read by the worker, a user's own, and those that break their promise."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from tests import workflows as w
from tests.conftest import Bench, working


@pytest.mark.parametrize("format", ["jsonl", "csv"])
@pytest.mark.parametrize(("count", "shard_size"), [(0, 200), (7, 200), (23, 5), (230, 2)])
async def test_a_file_is_read_page_by_page(
    client: Client, tmp_path: Path, format: str, count: int, shard_size: int
) -> None:
    """Every line or row of a file is one item, in its order, however many shards read it."""
    path = tmp_path / f"items.{format}"
    rows = [{"id": str(i), "note": f"line one\nline two, {i}" if i % 3 == 0 else "ü" * (i % 11)} for i in range(count)]
    if format == "jsonl":
        path.write_text("".join(json.dumps(row) + "\n" + "\n" * (i % 2) for i, row in enumerate(rows)))
    else:
        body = "".join(f'{r["id"]},"{r["note"]}"\r\n' for r in rows)
        path.write_bytes(b"\xef\xbb\xbf" + ("id,note\r\n" + body).encode())
    async with working(client, [str(tmp_path)]) as bench:
        result = await bench.run("ParentWorkflow", {"source": str(path)}, {"child": "Echo", "shard_size": shard_size})
    assert [entry["result"] for entry in result["successful_results"]] == rows
    assert result["total_children"] == count


async def test_a_page_over_its_bytes_is_cut_and_goes_on(client: Client, tmp_path: Path) -> None:
    """Items of 400 KB each, more than one page takes, all arrive, in order."""
    path = tmp_path / "large.jsonl"
    path.write_text("".join(json.dumps([i, "x" * 400_000]) + "\n" for i in range(8)))
    async with working(client, [str(tmp_path)]) as bench:
        options = {"child": "Echo", "max_result_bytes": 1_500_000, "max_concurrency": 4}
        result = await bench.run("ParentWorkflow", {"source": f"file://{path}"}, options)
    assert result["outcomes"] == {"completed": 8}


@pytest.mark.parametrize("fault", ["", "stingy"])
async def test_a_users_source_gives_pages_by_offset(bench: Bench, fault: str) -> None:
    """A source of one's own is asked for its total, and then for pages; fewer items than asked for are gone on from."""
    source = {"activity": "numbers", "args": [23, fault]}
    result = await bench.run(w.Anything.run, "activity:double_any", source, {"shard_size": 10})
    assert [entry["result"] for entry in result["successful_results"]] == [2 * i for i in range(23)]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("fails", "source numbers failed: the database is gone"),
        ("lies", "source numbers has no item 23, although its total says so"),
        ("too many", "source numbers was asked for at most "),
        ("too large", "source numbers failed:"),
        ("no total", "source numbers must answer a survey with its total"),
    ],
)
async def test_a_source_that_breaks_its_promise_fails_the_run(bench: Bench, fault: str, message: str) -> None:
    """The run ends as SourceFailed, says how, and loses nothing of what was done before."""
    source = {"activity": "numbers", "args": [23, fault], "timeout": 20}
    error = await bench.error(w.Anything.run, "activity:double_any", source, {"shard_size": 10})
    assert error.type == "SourceFailed"
    assert message in error.message
    counts = error.details[0]["outcomes"]
    assert sum(counts.values()) == error.details[0]["total_children"]
    if fault == "lies":
        assert counts == {"completed": 23, "not_started": 5}


async def test_a_source_that_nobody_serves_fails_the_run(bench: Bench) -> None:
    """A source on a queue without a worker ends within its timeout, with a question that leads to the cause."""
    source = {"activity": "numbers", "args": [5], "timeout": 1, "task_queue": "nobody-polls-this"}
    error = await bench.error(w.Anything.run, "Echo", source, {})
    assert "no worker took it within 1 s: is activity numbers registered, its task queue polled?" in error.message


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", None, "cannot be read: No such file"),
        ("a.jsonl", b'{"a":1}\n{"a":\n', "has no JSON in the line at byte 8"),
        ("a.jsonl", b'"\xff"\n', "is not UTF-8 at byte 0"),
        ("a.csv", b"a,b\n1,2\n3\n", "is not CSV in the record at byte 8: 1 fields for 2 columns"),
        ("a.jsonl", b'"' + b"x" * 1_200_000 + b'"\n', "has an item of over 1 MiB at byte 0"),
        ("a.jsonl/../../x", b"", "is not below a source root"),
    ],
)
async def test_a_bad_file_is_one_clear_error(
    client: Client, tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    """A file that cannot be read fails the run before anything is started, and names the place."""
    path = tmp_path / "root" / name
    path.parent.mkdir(exist_ok=True, parents=True)
    if content is not None and ".." not in name:
        path.write_bytes(content)
    async with working(client, [str(tmp_path / "root")]) as bench:
        error = await bench.error("ParentWorkflow", {"source": str(path)})
    assert error.type == "InvalidInput"
    assert message in error.message


async def test_a_link_out_of_the_root_is_refused(client: Client, tmp_path: Path) -> None:
    """A source root is left neither by a link, nor by a chain of protocols."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.jsonl").write_text("1\n")
    (tmp_path / "root" / "link.jsonl").symlink_to(tmp_path / "secret.jsonl")
    addresses: list[Any] = [str(tmp_path / "root" / "link.jsonl"), f"simplecache::file://{tmp_path}/secret.jsonl"]
    async with working(client, [str(tmp_path / "root")]) as bench:
        for address in addresses:
            error = await bench.error("ParentWorkflow", {"source": address})
            assert error.type == "InvalidInput"
            assert "root" in error.message or "chains protocols" in error.message
