"""A history that comes page by page is replayed as if it came at once, wherever it ends and its pages are cut."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, structs
from tests.crash.workflows import SCENARIOS
from tests.replay.test_histories_replay import HISTORIES, turns_of, values_of

from relight.actors.run.draft import Draft
from relight.actors.run.state import fold
from relight.sdk._execution import Launcher
from relight.sdk._programs import WorkflowPrograms
from relight.subjects import records as r
from relight.subjects.references import in_place
from relight.subjects.turn import Turn

FILES = sorted(HISTORIES.glob("*.jsonl"))
NOTES = st.sampled_from((r.Claimed("resumed"), r.Paused(), r.Unpaused("me"), r.Parked("stuck", ""), r.Unparked("me")))


@pytest.fixture(scope="module")
def launcher() -> Iterator[Launcher]:
    launcher = Launcher(threads=1, interceptors=(), sender=None)
    yield launcher
    launcher.close()


@given(st.data())
def test_pages_are_replayed_like_the_whole(launcher: Launcher, data: st.DataObject) -> None:
    file = data.draw(st.sampled_from(FILES))
    values = {digest: Raw(value) for digest, value in values_of(file).items()}
    first, *others = turns_of(file)  # What opens a history is one message.
    parts = [first, *(structs.replace(one, records=(record,)) for one in others for record in one.records)]
    parts = [structs.replace(one, records=tuple(in_place(record, values) for record in one.records)) for one in parts]
    turns = parts[: data.draw(st.integers(1, len(parts)))]
    for place, note in data.draw(st.lists(st.tuples(st.integers(1, len(turns)), NOTES), max_size=6)):
        turns.insert(place, structs.replace(turns[-1], records=(note,)))
    cuts = sorted(data.draw(st.sets(st.integers(1, len(turns)))) | {0, len(turns)})

    def replayed(*pages: Sequence[Turn]) -> tuple[object, ...]:
        scenario = SCENARIOS[file.stem.split("-")[0]]
        workflows = list({one.name: one for one in (scenario.workflow, *scenario.others)}.values())
        programs = WorkflowPrograms(workflows, launcher, code="")
        state = fold((turn.at_ms, turn.records) for turn in turns)
        assert state.started is not None, "each begins with its start"
        draft = Draft(programs.create("crash", state.started), code="", state=state)
        try:
            for page in pages:
                draft.replay(page)
            draft.carry_on()
            return draft.is_behind, draft.records, draft.state
        finally:
            draft.program.close()

    assert replayed(*(turns[begin:end] for begin, end in pairwise(cuts))) == replayed(turns)
