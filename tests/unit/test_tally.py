"""The counts of a fan-out, and what they keep of each item."""

from __future__ import annotations

from temporal_fanout.engine.tally import Tally
from temporal_fanout.results import Outcome
from temporal_fanout.wire.outcome import Ended
from temporal_fanout.wire.payloads import to_json
from temporal_fanout.wire.protocol import ShardResult


def test_a_tally_keeps_its_counts_when_it_runs_out_of_room() -> None:
    """Merged from shard to run, counts are whole and entries are cut; the result says so."""
    shard = Tally(2000)
    for index in range(10):
        shard.completed(index, to_json(index), to_json("x" * 60))
    run = Tally(1000)
    run.failed(99, to_json(1), Ended(Outcome.FAILED, error="e", type="T"))
    result, payloads = ShardResult.unpacked(shard.packed(1, None))
    run.merge(result, payloads, None)
    assert run.outcomes == {Outcome.FAILED: 1, Outcome.COMPLETED: 10}
    assert (run.finished, run.failures, run.truncated) == (11, 1, True)
    assert 3 <= len(run.completed_items) < 10
    assert [item.index for item in run.completed_items] == list(range(len(run.completed_items)))


def test_what_a_shard_returns_is_the_payloads_themselves() -> None:
    """Values and results come back as they are; missing values are the root's."""
    bytes_of_a_child = to_json("ж")
    shard = Tally(10_000)
    shard.completed(3, None, bytes_of_a_child)
    shard.completed(1, to_json("own"), None)
    shard.failed(2, None, Ended(Outcome.TIMED_OUT, error="late", type="TimeoutError"))
    result, payloads = ShardResult.unpacked(shard.packed(1, {"type": "T", "message": "m"}))
    assert result.stop == {"type": "T", "message": "m"}
    run = Tally(10_000)
    run.merge(result, payloads, lambda index: to_json(f"of the root {index}"))
    first, second = run.completed_items
    assert (first.index, first.value, first.result) == (1, to_json("own"), None)
    assert (second.index, second.value, second.result) == (3, to_json("of the root 3"), bytes_of_a_child)
    (failed,) = run.failed_items
    assert (failed.value, failed.outcome, failed.error) == (to_json("of the root 2"), Outcome.TIMED_OUT, "late")


def test_text_counts_as_it_may_be_written() -> None:
    """Cyrillic text takes three times its UTF-8 where a converter escapes it, so fewer entries fit."""
    latin, cyrillic = Tally(50_000), Tally(50_000)
    for index in range(100):
        latin.completed(index, None, to_json("z" * 600))
        cyrillic.completed(index, None, to_json("ж" * 300))
    assert len(latin.completed_items) > 2 * len(cyrillic.completed_items)
