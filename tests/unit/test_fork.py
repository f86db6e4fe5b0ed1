"""What a fork copies of a history."""

from __future__ import annotations

import pytest
from msgspec import Raw

from relight import RefusedError
from relight.actors.fork import Arguments, Cut, cut_after, cut_before, planned
from relight.actors.journal import History, Page, Tail
from relight.actors.reading import Reading
from relight.actors.run.state import RunState, fold
from relight.subjects import records as r
from relight.subjects.turn import VERSION, Turn

STARTED = r.RunStarted("order", "default", seed="5", timeout_ms=10_000, parent="above", parent_queue="q", asked_ms=5)
FIRST = (STARTED, r.StepScheduled("a#1", "x"))
SECOND = (r.StepCompleted("a#1", Raw(b"1")), r.StepScheduled("b#1", "y"), r.StepScheduled("c#1", "z"))
HOLD = r.Parked(r.FORKED, "its code goes on from here")
THIRD = (r.StepCompleted("b#1", Raw(b"2")), r.StepFailed("c#1", r.Failure("E", "no")), r.RunCompleted())


def history(*turns: tuple[r.Record, ...]) -> History:
    made = [
        Turn(VERSION, number, "", "worker", 3, 9, number * 1_000, "", records, cursor=7)
        for number, records in enumerate(turns, 1)
    ]
    return History(tuple(made), Tail())


def reading(*turns: tuple[r.Record, ...]) -> Reading:
    read = Reading(RunState(), None, Tail())
    read.take(Page([*history(*turns).turns], Tail(), 1))
    return read


def plan(cut: Cut, *turns: tuple[r.Record, ...], **replace: bytes) -> list[tuple[int, tuple[r.Record, ...]]]:
    results = {f"{name}#1": Raw(one) for name, one in replace.items()}
    made = planned(history(*turns), "old", cut, results, step="b#1", client="me", now_ms=21_000)
    return [(one.at_ms, one.records) for one in made]


def test_it_ends_with_the_outcome_and_without_what_followed_in_the_same_turn() -> None:
    made = plan(cut_after("b#1"), FIRST, SECOND, THIRD)

    assert made[1:] == [(2_000, SECOND), (3_000, (HOLD, THIRD[0]))]


def test_the_first_record_names_the_origin_and_is_no_child_and_has_its_time_anew() -> None:
    (_, (started, *_)), *_ = plan(cut_after("b#1"), FIRST, SECOND, THIRD)

    assert isinstance(started, r.RunStarted)
    assert (started.origin, started.origin_records) == ("old", 7)
    assert (started.parent, started.parent_queue, started.asked_ms) == (None, "", 0)
    assert (started.seed, started.client) == ("5", "me")
    assert started.timeout_ms == 10_000 + 20_000


@pytest.mark.parametrize("step", ["b#1", "c#1"])
def test_before_a_step_it_leaves_out_what_was_asked_for_beside_it(step: str) -> None:
    assert plan(cut_before(step), FIRST, SECOND, THIRD)[-1] == (2_000, (HOLD, SECOND[0]))


def test_before_its_first_step_its_start_is_to_begin() -> None:
    ((at_ms, (started,)),) = plan(cut_before("a#1"), FIRST, SECOND)

    assert isinstance(started, r.RunStarted)
    assert (at_ms, started.not_before_ms, started.timeout_ms) == (1_000, 1_000, 10_000)


def test_what_is_recorded_about_what_was_asked_for_stays() -> None:
    again = r.StepAttemptFailed("b#1", 1, r.Failure("E", "no"), 2_500)
    made = plan(cut_before("c#1"), FIRST, (*SECOND[:2], again, r.StepScheduled("c#1", "z")), THIRD)

    assert made[-1] == (2_000, (*SECOND[:2], again, HOLD))


def test_results_and_failures_are_replaced() -> None:
    made = plan(cut_after("c#1"), FIRST, SECOND, THIRD, a=b"7", c=b"8")

    assert made[1][1][0] == r.StepCompleted("a#1", Raw(b"7"), by="fork")
    assert made[2][1] == (THIRD[0], HOLD, r.StepCompleted("c#1", Raw(b"8"), by="fork"))


def test_another_replacement_is_another_fork() -> None:
    hashes = {
        str(plan(cut_after("b#1"), FIRST, SECOND, THIRD, b=result)[0][1][0].origin_hash)  # type: ignore[union-attr]  # pyright: ignore
        for result in (b"1", b"2", b"2")
    }

    assert len(hashes) == 2


def test_what_was_parked_goes_on() -> None:
    made = plan(cut_after("b#1"), FIRST, (*SECOND, r.Parked("stuck", "other code")), THIRD)

    assert made[-1] == (3_000, (THIRD[0], HOLD))


def test_and_what_was_paused() -> None:
    made = plan(cut_after("b#1"), FIRST, (*SECOND, r.Paused()), THIRD)

    assert made[-1] == (3_000, (THIRD[0], HOLD, r.Unpaused("fork")))


def test_nor_does_it_see_in_the_copy_by_what_it_went_on_there() -> None:
    held = (*SECOND[:2], r.Parked("stuck", "other code"))
    made = plan(cut_before("d#1"), FIRST, held, THIRD[:1], (r.Unparked("code"), r.StepScheduled("d#1", "z")))

    assert made[-1] == (3_000, (THIRD[0], HOLD))


def test_it_does_not_inherit_deaths() -> None:
    claimed = (r.Claimed("owner_gone", deaths=2),)
    held = (*SECOND[:2], r.Parked("stuck", "other code"))
    made = plan(cut_before("d#1"), FIRST, held, claimed, (r.Unparked("code"), r.StepScheduled("d#1", "z")))

    assert fold(made).deaths == 0


@pytest.mark.parametrize(
    "owned", [r.ChildScheduled("old-child-1", "w", "default", "cancel"), r.AwakeableCreated(1, "old~1~x")]
)
def test_what_belongs_to_the_old_run_alone_is_not_copied(owned: r.Record) -> None:
    with pytest.raises(RefusedError, match="earlier step"):
        plan(cut_after("b#1"), FIRST, (*SECOND, owned), THIRD)


def test_a_step_without_outcome_is_refused() -> None:
    with pytest.raises(RefusedError, match=r"step 'b#1' is not in the history .*; give one of a#1$"):
        plan(cut_after("b#1"), FIRST, SECOND)
    with pytest.raises(RefusedError, match=r"to replace in the copied part of run 'old': c#1; give one of a#1, b#1$"):
        plan(cut_after("b#1"), FIRST, SECOND, THIRD, c=b"1")
    with pytest.raises(RefusedError, match="give another run: none of its steps has an outcome"):
        plan(cut_after("b#1"), FIRST)


def test_of_many_steps_a_refusal_names_the_first() -> None:
    many = tuple(r.StepCompleted(f"a#{number}", Raw(b"1")) for number in range(1, 13))

    with pytest.raises(RefusedError, match=r"a#9, a#10 \(and 2 more\)$"):
        plan(cut_after("b#1"), FIRST, many)


def test_a_copy_that_lacks_records_is_seen() -> None:
    made = [records for _, records in plan(cut_after("b#1"), FIRST, SECOND, THIRD)]

    assert reading(*made[:2]).is_incomplete
    assert not reading(*made).is_incomplete
    assert not reading(FIRST).is_incomplete


def test_other_arguments_make_another_fork_whose_start_nobody_has_checked() -> None:
    cut = cut_after("b#1")
    made = [
        planned(history(FIRST, SECOND, THIRD), "old", cut, {}, step="b#1", client="me", now_ms=1, arguments=one)
        for one in (None, Arguments((Raw(b"1"),), "one"), Arguments((Raw(b"2"),), "two"))
    ]

    first, second, third = (one[0].records[0] for one in made)
    assert isinstance(first, r.RunStarted)
    assert isinstance(second, r.RunStarted)
    assert isinstance(third, r.RunStarted)
    assert len({first.origin_hash, second.origin_hash, third.origin_hash}) == 3
    assert (first.unchecked, second.unchecked) == (False, True)
    assert (second.arguments, second.digest) == ((Raw(b"1"),), "one")


def test_the_fork_of_a_run_that_continued_as_new_has_no_children_of_it() -> None:
    continued = r.Continued(2, 0, 10, 5, children=(r.ChildScheduled("child", "w", "q", "cancel"),))

    (_, records), *_ = plan(cut_after("a#1"), (continued, *FIRST), SECOND)

    assert records[0] == r.Continued(2, 0, 10, 5)
    assert isinstance(records[1], r.RunStarted)
    assert records[1].origin_records == 5
