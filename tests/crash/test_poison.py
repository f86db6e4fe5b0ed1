"""Messages that fit no type, or that can't be read at all: their run goes on with the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec import Raw
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Encryption, Keys, RefusedError, RequestRejected, SealedError, WorkflowContext, workflow
from relight.actors.jetstream.announcements import decode_announcement
from relight.actors.values import filled
from relight.errors import ProtocolError
from relight.sdk._history import read_history
from relight.subjects import messages as m
from relight.subjects import records as r
from relight.subjects.codec import encode

LONG_KEY = {"k" * 2_000_000: "no number"}


@workflow
async def suspends(ctx: WorkflowContext) -> int:
    return len(await ctx.suspend("go", type=dict[str, int]))


@workflow
async def hears(ctx: WorkflowContext) -> int:
    return len(await ctx.wait_for_signal("go", type=dict[str, int]))


@workflow
async def answers(ctx: WorkflowContext) -> int:
    async for asked in ctx.requests("go", type=dict[str, int]):
        await asked.reply(0)
        return len(asked.data)
    return 0


class Poisonous(set[str]):
    def __iter__(self) -> Iterator[str]:
        raise ConnectionError("not to be gone through")


@workflow
async def returns_poison(ctx: WorkflowContext) -> set[str]:
    return Poisonous({"a"})


async def test_a_result_of_which_pydantic_panics_parks_its_run_and_no_other_one(site: WorkersInMemory) -> None:
    await site.add(returns_poison, suspends)
    poisoned = await site.result(site.client.start(returns_poison))
    run = await site.result(site.client.start(suspends))

    await site.until(lambda: bool(site.records(poisoned.id, r.Parked)))
    await site.result(run.resume("go", {"a": 5}))

    assert (await site.result(poisoned.describe())).parked == "stuck"
    assert await site.result(run.result()) == 1


async def test_of_an_answer_with_a_long_key_that_does_not_fit_the_next_one_counts(site: WorkersInMemory) -> None:
    await site.add(suspends)
    run = await site.result(site.client.start(suspends, id="run"))
    await site.until(lambda: bool(site.records("run", r.Suspended)))

    await site.result(run.resume("go", LONG_KEY))
    await site.until(lambda: len(site.records("run", r.Suspended)) == 2)
    await site.result(run.resume("go", {"a": 5}))

    assert await site.result(run.result()) == 1


async def test_of_a_signal_with_a_long_key_that_does_not_fit_the_next_one_counts(site: WorkersInMemory) -> None:
    await site.add(hears)
    run = await site.result(site.client.start(hears, id="run"))

    await site.result(run.signal("go", LONG_KEY))
    await site.result(run.signal("go", {"a": 5}))

    assert await site.result(run.result()) == 1


async def test_a_request_with_a_long_key_that_does_not_fit_is_rejected_in_few_words(site: WorkersInMemory) -> None:
    await site.add(answers)
    run = await site.result(site.client.start(answers, id="run"))

    asked = asyncio.ensure_future(run.request("go", LONG_KEY, type=int))
    with pytest.raises(RequestRejected) as rejected:
        await site.result(asked)
    assert await site.result(run.request("go", {"a": 5}, type=int)) == 0

    assert len(str(rejected.value)) < 1_000
    assert await site.result(run.result()) == 1


DEEP = b"[" * 50_000 + b"]" * 50_000
"""Deeper than any Python reads: 3.11 a thousand, 3.12 and later ten thousand."""


@pytest.mark.parametrize(
    "message",
    [
        b'{"kind":"Signal","name":"\xff","data":1}',
        b'{"kind":"Signal","name":"go","data":{"$relight.value":"\xff","bytes":1}}',
        b'{"kind":"Signal","name":"go","data":' + DEEP + b"}",
    ],
    ids=["no UTF-8", "no UTF-8 in a reference", "too deep"],
)
async def test_after_bytes_that_are_no_message_the_next_one_counts(site: WorkersInMemory, message: bytes) -> None:
    await site.add(hears)
    run = await site.result(site.client.start(hears, id="run"))
    await site.until(lambda: bool(site.records("run", r.SignalAwaited)))

    publish(site, site.client.subjects.wake("default", "run"), message)
    await site.result(run.signal("go", {"a": 5}))

    assert await site.result(run.result()) == 1


@pytest.mark.parametrize("name", [b"\xff", b"\x01"], ids=["no UTF-8", "no JSON"])
async def test_a_journal_that_ends_in_such_bytes_parks_its_run_as_corrupt(site: WorkersInMemory, name: bytes) -> None:
    worker = await site.add(hears)
    run = await site.result(site.client.start(hears, id="run"))
    await site.until(lambda: bool(site.records("run", r.SignalAwaited)))
    worker.kill()
    log = site.client.subjects.log("run")
    last = site.server.stream.last(log)
    assert last is not None

    publish(site, log, last.data.replace(b'"name":"go"', b'"name":"' + name + b'"'))
    site.abandon("run", "nobody can read its journal: that a worker said so in it is what is tested")
    publish(site, site.client.subjects.wake("default", "run"), encode(m.TimerDue(timer=0, due_ms=0)))
    await site.add(hears)
    await site.until(lambda: is_corrupt(site, log))

    assert (await site.result(run.describe())).parked == "corrupt"


async def test_a_data_key_of_which_nobody_can_make_one_is_damaged(site: WorkersInMemory) -> None:
    codec = Encryption(Keys({"first": bytes(range(32))}))
    async with site.another_client(codec) as client:
        run = await site.result(client.start(hears))
        (key,) = site.server.stream.subjects(client.subjects.key(run.id, "*"), limit=10)
        publish(site, key, b'{"more":' + DEEP + b"}")

        async with site.another_client(codec) as another:
            with pytest.raises(SealedError, match="is damaged"):
                await site.result(another.get_run(run.id).signal("go", {"a": 5}))


async def test_a_large_value_of_which_nobody_can_read_where_it_is_is_damaged(site: WorkersInMemory) -> None:
    door, subjects, digest = site.client.door, site.client.subjects, "ab" * 16
    publish(site, subjects.value("run", digest), b'{"more":' + DEEP + b"}")
    refers = r.DetailsSet(Raw(encode({"$relight.value": digest, "bytes": 70_000})))

    with pytest.raises(ProtocolError, match="unreadable description"):
        await site.result(filled(door, subjects, "run", refers))


def test_an_announcement_of_which_nothing_can_be_told_is_unreadable() -> None:
    with pytest.raises(ProtocolError):
        decode_announcement(b'{"worker":"worker","more":' + DEEP + b"}")


@pytest.mark.parametrize("line", [b'[1,{"kind":"DetailsSet","data":' + DEEP + b"}]", b'[1,{"kind":"\xff"}]'])
def test_a_file_with_such_bytes_is_no_history(tmp_path: Path, line: bytes) -> None:
    file = tmp_path / "deep.jsonl"
    file.write_bytes(b'{"v":1,"run":"run"}\n' + line)

    with pytest.raises(RefusedError, match="is no recorded history"):
        read_history(file)


def publish(site: WorkersInMemory, subject: str, data: bytes) -> None:
    site.server.stream.publish(subject, data, fence=None, fence_subject=None)


def is_corrupt(site: WorkersInMemory, log: str) -> bool:
    last = site.server.stream.last(log)
    return last is not None and b'"corrupt"' in last.data
