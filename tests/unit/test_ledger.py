"""What is counted, once, also over a restart."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from temporal_fanout import InvalidInput, Outcome
from temporal_fanout.exporter.ledger import LOOK_BACK_SECONDS, MAX_PAIRS, ClosedRun, Ledger

DONE = Outcome.COMPLETED


def a_run(run_id: str, closed_at: float = 1e9, parent_type: str = "P") -> ClosedRun:
    return ClosedRun("id", run_id, parent_type, closed_at, DONE, "q")


def a_ledger(*runs: ClosedRun) -> Ledger:
    ledger = Ledger("default")
    for run in runs:
        ledger.count(run, {("C", DONE): 3, ("C", Outcome.FAILED): 1}, DONE)
    ledger.close(["P"], max((run.closed_at for run in runs), default=0.0))
    return ledger


def test_a_run_is_counted_once() -> None:
    """A run that was counted, or that is kept for later, is not new; another of the same workflow is."""
    ledger = a_ledger(a_run("1"))
    ledger.keep(a_run("2"))
    assert [ledger.is_new(a_run(run_id)) for run_id in ("1", "2", "3")] == [False, False, True]


def test_a_run_that_shows_up_late_is_counted() -> None:
    """One that closed within the look-back before the newest is new however late it is shown; an older one is not."""
    ledger = a_ledger(a_run("1"), a_run("2", 1e9 + 5000))
    late = 1e9 + 5000 - LOOK_BACK_SECONDS
    assert ledger.is_new(a_run("3", late + 1))
    assert not ledger.is_new(a_run("4", late - 1))
    assert ledger.starts(["P", "Q"]) == {late: ["P"], 0.0: ["Q"]}


def test_the_state_holds_all(tmp_path: Path) -> None:
    """After a restart the counts are the same, what was counted is not new, and what was kept is still kept."""
    ledger = a_ledger(a_run("1"), a_run("2", 1e9 + 10))
    ledger.keep(a_run("3", 1e9 - 5000))
    ledger.count_unread(a_run("4"))
    ledger.meet("P", "seen")
    ledger.save(tmp_path / "state.json")
    again = Ledger.load(tmp_path / "state.json", "default")
    assert (again.items, again.runs, again.unread) == (ledger.items, ledger.runs, ledger.unread)
    assert list(again.pairs) == [("P", "C"), ("P", "seen")]
    assert again.open_ended == {"3": a_run("3", 1e9 - 5000)}
    assert not any(again.is_new(a_run(run_id)) for run_id in ("1", "3", "4"))
    assert again.starts(["P"]) == ledger.starts(["P"])
    assert again.is_whole
    assert [path.name for path in tmp_path.iterdir()] == ["state.json"]


def test_a_run_without_an_outcome_is_part_of_a_chain() -> None:
    """Its items are counted, and no run."""
    ledger = Ledger("default")
    ledger.count(a_run("1"), {("C", DONE): 2}, None)
    assert ledger.items["P", "C", DONE] == 2
    assert not ledger.runs


def test_combinations_are_bounded() -> None:
    """After so many combinations of parent and child type, items of further ones are counted together."""
    ledger = Ledger("default")
    for n in range(MAX_PAIRS + 5):
        ledger.count(a_run(str(n)), {(f"C{n}", DONE): 1}, DONE)
    assert len(ledger.pairs) == MAX_PAIRS + 1
    assert ledger.items["P", "other", DONE] == 5
    assert ledger.items["P", "C0", DONE] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "is no state of an exporter"),
        ("{}", "is no state of an exporter"),
        (json.dumps({"version": 2, "namespace": "default"}), "is of version 2, not 1"),
        (json.dumps({"version": 1, "namespace": "other"}), "is of the namespace other, not default"),
        (json.dumps({"version": 1, "namespace": "default"}), "is no state of an exporter"),
    ],
)
def test_a_state_of_no_use_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """InvalidInput that names the option and the file."""
    path = tmp_path / "state.json"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=message) as caught:
        Ledger.load(path, "default")
    assert caught.value.message.startswith(f"--state: {path} ")


def test_a_state_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    """At the start, not after the first sweep."""
    with pytest.raises(InvalidInput, match="cannot be used: No such file or directory"):
        Ledger.load(tmp_path / "nowhere" / "state.json", "default")
