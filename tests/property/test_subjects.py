"""Subjects: what is built says the same when it is parsed, and no text can add a token to one."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from relight.errors import InvalidIdError
from relight.subjects.grammar import (
    AnswerSubject,
    DoneSubject,
    LogSubject,
    OwnerSubject,
    StartSubject,
    Subject,
    Subjects,
    TimerSubject,
    WakeSubject,
    parse,
)
from relight.subjects.ids import Namespace, QueueName, RunId, WorkerId, slot_of, token

HOSTILE = " .*>\t\r\n\0\x1f\x7f\x85\u2028$"


def _is_token(text: str) -> bool:
    try:
        token("id", text)
    except InvalidIdError:
        return False
    return True


ids = st.one_of(
    st.from_regex(r"[A-Za-z0-9_-]{1,40}", fullmatch=True),
    st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zs", "Zl", "Zp")), min_size=1, max_size=30),
).filter(_is_token)
anything = st.text(st.one_of(st.characters(), st.sampled_from(HOSTILE)), max_size=200)


def _built(of: Subjects, queue: str, run: str, client: str, timer: str) -> dict[str, Subject]:
    space, slot, run_id, queue_name = Namespace(of.namespace), slot_of(run), RunId(run), QueueName(queue)
    return {
        of.start(queue, run): StartSubject(space, slot, queue_name, run_id),
        of.wake(queue, run): WakeSubject(space, slot, queue_name, run_id),
        of.log(run): LogSubject(space, slot, run_id),
        of.timer(run, timer): TimerSubject(space, slot, run_id, timer),
        of.owner(client): OwnerSubject(space, WorkerId(client)),
        of.done(client, run): DoneSubject(space, client, run_id),
        of.answer(client, run): AnswerSubject(space, client, run_id),
    }


@given(ids, ids, ids, ids, ids)
def test_what_is_built_says_the_same_when_it_is_parsed(
    namespace: str, queue: str, run: str, client: str, timer: str
) -> None:
    built = _built(Subjects(namespace), queue, run, client, timer)

    assert {subject: parse(subject) for subject in built} == built


@given(ids, ids, ids, ids)
def test_a_run_of_another_slot_is_none_of_ours(namespace: str, queue: str, run: str, timer: str) -> None:
    of = Subjects(namespace)
    other = (slot_of(run) + 1) % 64

    for subject in (of.start(queue, run), of.wake(queue, run), of.log(run), of.timer(run, timer)):
        parts = subject.split(".")
        parts[3] = str(other)
        assert parse(".".join(parts)) is None


@given(anything)
def test_an_id_is_one_token_or_refused(text: str) -> None:
    if _is_token(text):
        assert not any(one in text for one in HOSTILE.rstrip("$"))
        assert not text.startswith("$")
        assert len(Subjects(text).log(text).split(".")) == 5


@given(st.one_of(anything, st.lists(anything, max_size=7).map(lambda parts: ".".join(("relight", *parts)))))
def test_any_text_is_parsed_to_valid_tokens_or_to_nothing(text: str) -> None:
    parsed = parse(text)

    if parsed is not None:
        values = [str(value) for name, value in vars(parsed).items() if name != "slot"]
        assert all(map(_is_token, values))
        assert all(value in text for value in values)


@given(
    st.sampled_from(("start", "wake", "log", "timer", "owner", "done", "answer")),
    st.lists(st.one_of(ids, anything), min_size=1, max_size=4),
)
def test_a_subject_with_a_token_that_is_no_id_is_none_of_ours(kind: str, parts: list[str]) -> None:
    run = parts[-1]
    slot = str(slot_of(run)) if _is_token(run) else "0"  # What is no text in UTF-8 has none.
    slots = [slot] if kind in ("start", "wake", "log") else []
    subject = ".".join(("relight", "space", kind, *slots, *parts))

    assert parse(subject) is None or all(map(_is_token, subject.split(".")))
