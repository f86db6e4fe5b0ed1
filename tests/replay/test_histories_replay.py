"""Histories that were recorded once must replay on today's code for ever.

`python -m tests.replay.record` records those of new example workflows. A file that exists is never written again: if
one no longer replays, the code is wrong, not the file.
"""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest
from tests.crash.workflows import SCENARIOS

from relight.subjects.codec import decode_turn
from relight.subjects.references import digest_of
from relight.subjects.turn import GENESIS, Turn, hash_of, opens_history
from relight.testing.replaying import replay_history

HISTORIES = Path(__file__).parent / "histories"


def lines_of(file: Path) -> list[bytes]:
    return file.read_bytes().splitlines()


def turns_of(file: Path) -> list[Turn]:
    turns = [decode_turn(line) for line in lines_of(file)]
    assert all(isinstance(turn, Turn) for turn in turns)
    return [turn for turn in turns if isinstance(turn, Turn)]


def values_of(file: Path) -> dict[str, bytes]:
    """Those that are stored apart, one a line."""
    values = file.with_suffix(".values.gz")
    lines = gzip.decompress(values.read_bytes()).splitlines() if values.exists() else []
    return {digest_of(line): line for line in lines}


@pytest.mark.parametrize("file", sorted(HISTORIES.glob("*.jsonl")), ids=lambda file: file.stem)
def test_it_still_replays(file: Path) -> None:
    scenario = SCENARIOS[file.stem.split("-")[0]]

    replay_history((scenario.workflow, *scenario.others), "crash", turns_of(file), values_of(file))


@pytest.mark.parametrize("file", sorted(HISTORIES.glob("*.jsonl")), ids=lambda file: file.stem)
def test_its_chain_holds(file: Path) -> None:
    opened = turns_of(file)[0]
    first, previous = (opened.number, opened.previous) if opens_history(opened) else (1, GENESIS)
    for number, (line, turn) in enumerate(zip(lines_of(file), turns_of(file), strict=True), first):
        assert (turn.number, turn.previous) == (number, previous)
        previous = hash_of(line)


def test_each_example_workflow_has_a_history() -> None:
    recorded = {file.stem.split("-")[0] for file in HISTORIES.glob("*.jsonl")}

    assert recorded == set(SCENARIOS)
