"""What every door promises about messages that are not stored."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING

import pytest

from relight.actors.door import Answers, Silent
from relight.subjects.ids import WorkerId

if TYPE_CHECKING:
    from tests.conformance.conftest import Site

BOB = WorkerId("bob")


async def test_a_notice_arrives_once_watch_has_returned(site: Site) -> None:
    sender, receiver = await site.door("a"), await site.door("b")
    seen: list[tuple[str, bytes]] = []
    subject = site.subjects.done("client-1", "run-1")

    await receiver.watch(subject, lambda subject, data: seen.append((subject, data)))
    sender.notify(subject, b"completed")

    await site.until(lambda: bool(seen))
    assert seen == [(subject, b"completed")]


async def test_a_watch_may_be_on_a_filter(site: Site) -> None:
    door = await site.door("a")
    seen: list[str] = []

    await door.watch(site.subjects.done("client-1", "*"), lambda subject, data: seen.append(subject))
    door.notify(site.subjects.done("client-2", "run-1"))
    door.notify(site.subjects.done("client-1", "run-2"))

    await site.until(lambda: bool(seen))
    assert seen == [site.subjects.done("client-1", "run-2")]


async def test_a_closed_watch_sees_nothing(site: Site) -> None:
    door = await site.door("a")
    closed: list[bytes] = []
    opened: list[bytes] = []
    subject = site.subjects.done("client-1", "run-1")
    watch = await door.watch(subject, lambda subject, data: closed.append(data))
    await door.watch(subject, lambda subject, data: opened.append(data))

    await watch.close()
    door.notify(subject, b"completed")

    await site.until(lambda: bool(opened))
    assert closed == []


async def test_nobody_answers_for_a_worker_that_is_not_there(site: Site) -> None:
    door = await site.door("a")

    assert await site.result(door.ask(BOB, b"yours?", timeout_s=1.0)) is None


async def test_a_worker_answers_what_it_is_asked(site: Site) -> None:
    asker, answerer = await site.door("a"), await site.door("b")
    await answerer.answer(BOB, lambda question: question + b" mine")

    assert await site.result(asker.ask(BOB, b"run-1", timeout_s=5.0)) == b"run-1 mine"


async def test_a_worker_that_does_not_answer_is_silent(site: Site) -> None:
    asker, answerer = await site.door("a"), await site.door("b")
    await answerer.answer(BOB, lambda question: None)

    with pytest.raises(Silent):
        await site.result(asker.ask(BOB, b"run-1", timeout_s=0.1))


async def test_every_worker_but_the_asker_is_asked_and_heard(site: Site) -> None:
    asker, first, second = await site.door("a"), await site.door("b"), await site.door("c")
    for door, name in ((asker, b"a"), (first, b"b"), (second, b"c")):
        await door.answer_every_worker(partial(add, name))

    answers = await site.result(asker.ask_every_worker(b"?", timeout_s=5.0))

    assert (sorted(answers.said), answers.is_complete) == ([b"b?", b"c?"], True)


async def test_where_nobody_else_is_all_have_answered_at_once(site: Site) -> None:
    asker = await site.door("a")
    await asker.answer_every_worker(lambda question: question)

    assert await site.result(asker.ask_every_worker(b"?", timeout_s=60.0)) == Answers((), is_complete=True)


async def test_it_is_known_that_somebody_has_not_answered(site: Site) -> None:
    asker, mute, other = await site.door("a"), await site.door("b"), await site.door("c")

    def fail(question: bytes) -> bytes:
        raise LookupError

    await mute.answer_every_worker(fail)
    await other.answer_every_worker(lambda question: b"here")

    # To log the error of the one who fails takes a while, in which nobody else is heard.
    assert await site.result(asker.ask_every_worker(b"?", timeout_s=1.5)) == Answers((b"here",), is_complete=False)


async def test_questions_at_the_same_time_get_their_own_answers(site: Site) -> None:
    asker, answerer = await site.door("a"), await site.door("b")
    await answerer.answer(BOB, lambda question: question)

    async def ask_all() -> list[bytes | None]:
        questions = [asker.ask(BOB, b"%d" % number, timeout_s=5.0) for number in range(10)]
        return list(await asyncio.gather(*questions))

    assert await site.result(ask_all()) == [b"%d" % number for number in range(10)]


def add(name: bytes, question: bytes) -> bytes:
    return name + question
