"""Where two histories part, and what differs between them."""

from __future__ import annotations

from msgspec import Raw

from relight.cli.difference import Entry, RunsCompared, compared
from relight.subjects import records as r


def history(*records: r.Record, began_ms: int = 0, pace_ms: int = 1_000) -> list[Entry]:
    return [Entry(number, began_ms + number * pace_ms, one) for number, one in enumerate(records, 1)]


def started(seed: str = "a") -> r.RunStarted:
    return r.RunStarted("order", "default", arguments=(Raw(b"7"),), seed=seed)


def step(result: str, *, place: str = "", attempt: int = 1) -> tuple[r.Record, r.Record]:
    return r.StepScheduled("charge#1", "d", place), r.StepCompleted("charge#1", Raw(result.encode()), attempt)


def found(left: list[Entry], right: list[Entry]) -> RunsCompared:
    return compared(left, right, names=("one", "two"))


def test_runs_that_differ_in_time_and_place_alone_do_not_part() -> None:
    left = history(started("a"), *step("1", place="app.py:3"), r.RunCompleted(Raw(b"2")))
    right = history(
        started("b"), r.Claimed("owner_gone"), *step("1", place="app.py:9"), r.RunCompleted(Raw(b"2")), began_ms=9_000
    )

    same = found(left, right)

    assert (same.shared, same.parting, same.differences) == (4, None, ())
    assert ("step charge#1", "seconds", 1.0, 1.0) in same.times
    assert ("run", "seconds", 3.0, 4.0) in same.times


def test_another_result_is_where_they_part() -> None:
    left = history(started(), *step("1"), r.RunCompleted(Raw(b"2")))
    right = history(started(), *step("5", attempt=3), r.RunFailed(r.Failure("ValueError", "no")))

    parted = found(left, right)

    assert parted.parting is not None
    assert (parted.parting.left, parted.parting.right) == (left[2], right[2])
    assert parted.differences == (
        ("run", "end", {"result": 2}, {"error": "ValueError: no"}),
        ("step charge#1", "outcome", {"result": 1}, {"result": 5}),
        ("step charge#1", "attempt", 1, 3),
    )


def test_a_history_that_is_shorter_parts_at_its_end() -> None:
    left = history(started(), *step("1"))
    right = history(started(), r.StepScheduled("charge#1", "d"))

    parted = found(left, right)

    assert parted.shared == 2
    assert parted.parting == (left[2], None)
    assert ("step charge#1", "outcome", {"result": 1}, "open") in parted.differences


def test_a_step_that_only_one_has_is_absent_from_the_other() -> None:
    left = history(started(), *step("1"))
    right = history(started(), r.StepScheduled("refund#1", "d"))

    differences = found(left, right).differences

    assert ("step charge#1", "presence", {"result": 1}, "absent") in differences
    assert ("step refund#1", "presence", "absent", "open") in differences


def test_tokens_and_the_names_of_children_part_no_runs() -> None:
    left = history(
        started(), r.AwakeableCreated(1, "one~1~abc"), r.ChildScheduled("one~c", "pack", "default", "cancel")
    )
    right = history(
        started(), r.AwakeableCreated(1, "two~1~def"), r.ChildScheduled("two~c", "pack", "default", "cancel")
    )

    assert found(left, right).parting is None


def test_what_people_sent_is_compared() -> None:
    left = history(started(), r.SignalReceived("go", Raw(b"1")), r.AnswerReceived("ok", Raw(b"true")))
    right = history(started(), r.SignalReceived("go", Raw(b"1")), r.AnswerReceived("ok", Raw(b"false")))

    assert found(left, right).differences == (("answer ok#1", "data", True, False),)


def test_the_ids_of_what_was_sent_part_no_runs() -> None:
    def asked(id: str, client: str) -> list[Entry]:
        return history(
            r.Continued(2, 7, 9, signal_ids=(id,), request_ids=(id,), answers=(r.RequestRejected(id, "no"),)),
            started(),
            r.SignalReceived("word", Raw(b"1"), id),
            r.RequestReceived("ask", id, Raw(b"2"), client),
            r.RequestReplied(id, Raw(b"3"), client),
        )

    assert found(asked("a", "here"), asked("b", "there")).parting is None


def test_another_reply_parts_runs() -> None:
    left = history(started(), r.RequestReplied("a", Raw(b"1")))
    right = history(started(), r.RequestReplied("b", Raw(b"2")))

    assert found(left, right).parting == (left[1], right[1])
