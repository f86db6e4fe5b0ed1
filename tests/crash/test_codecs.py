"""What users put in leaves the process sealed, and all that is promised holds all the same."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
import uvloop
from tests.crash.workers_in_memory import WorkersInMemory
from tests.crash.workflows import LARGE, SCENARIOS, gives_back

from relight import Encryption, Keys, RefusedError, WorkflowContext, Zstd, workflow
from relight.actors.codecs import Codec
from relight.actors.journal import Journal, Tail
from relight.config.limits import LIMITS
from relight.subjects.codec import decode_turn, encode
from relight.subjects.grammar import Subjects
from relight.subjects.records import ChildScheduled, Parked
from relight.subjects.turn import Turn
from relight.testing.crash import sweep
from relight.testing.memory import MemoryServer
from relight.testing.trial import Scenario, Trial

KEYS = Keys({"first": bytes(range(32))})
NAMES = ("calls_children", "continues", "forked", "suspends_and_sleeps", "undoes")
LARGE_ONES = Scenario(workflow=gives_back, args=("a" * LARGE,))


def codecs() -> tuple[Codec, ...]:
    return (Zstd(), Encryption(KEYS))


@pytest.mark.parametrize("name", SCENARIOS)
async def test_each_example_ends_as_it_does_without_codecs(name: str) -> None:
    plain, sealed = Trial(SCENARIOS[name]), Trial(replace(SCENARIOS[name], codecs=codecs()))

    expected = await plain.play()

    assert await sealed.play() == expected
    assert sealed.problems == []


@pytest.mark.parametrize("scenario", [*(SCENARIOS[name] for name in NAMES), LARGE_ONES], ids=[*NAMES, "large_ones"])
def test_it_ends_alike_wherever_a_process_dies(scenario: Scenario) -> None:
    report = uvloop.run(sweep(replace(scenario, codecs=codecs()), workers=2))

    assert report.crashes >= 4 * report.operations


async def test_a_parking_that_was_sealed_with_its_kind_is_read_all_the_same(site: WorkersInMemory) -> None:
    async with site.another_client(*codecs()) as client:
        run, seal = await site.result(client.start(hears_two)), client.door.seal
        assert seal is not None
        log = client.subjects.log(run.id)
        turn = encode(Turn(1, 1, "a", "w", 1, 1, 1, "h", (Parked("unknown_outcome", "why", "charge#1"),)))

        stored = await seal.sealed(log, turn)
        earlier = stored.replace(b'"reason":"unknown_outcome"', b'"reason":"sealed"')
        changed = stored.replace(b'"reason":"unknown_outcome"', b'"reason":"stuck"')

        assert earlier != stored
        assert [await seal.opened(log, one) for one in (stored, earlier, changed)] == [turn, turn, b""]


@workflow
async def measures(ctx: WorkflowContext, text: str) -> int:
    return len(text)


@pytest.mark.parametrize("text", ["relight.sealed:", "relight.sealed:a:b", "relight.sealed:a:b:c"])
async def test_a_plain_value_may_have_a_chunk_that_begins_like_a_sealed_one(site: WorkersInMemory, text: str) -> None:
    await site.add(measures, codecs=codecs())
    before = "x" * (LIMITS.value_chunk_bytes - 1)  # And the quote of its JSON.

    run = await site.result(site.client.start(measures, before + text))

    assert await site.result(run.result()) == len(before + text)


async def test_what_is_no_sealed_value_is_damaged_and_nothing_worse(site: WorkersInMemory) -> None:
    async with site.another_client(*codecs()) as client:
        run = await site.result(client.start(measures, "x" * 100_000))
        (subject,) = site.server.stream.subjects(client.subjects.value_chunks(f"{run.id}.*.*"), limit=10)
        seal = client.door.seal
        assert seal is not None

        assert [await seal.opened(subject, b"relight.sealed:" + one) for one in (b"", b"a:b", b"\xff:b:c")] == [b""] * 3


class Named:
    """Leaves everything as it is."""

    def __init__(self, name: str) -> None:
        self.name = name

    def encode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        return data

    def decode(self, data: bytes, *, key: bytes, place: bytes) -> bytes:
        return data


@pytest.mark.parametrize("name", ["acme:deflate", "acme+deflate"])
async def test_a_codec_by_whose_name_nobody_would_find_it_is_refused(site: WorkersInMemory, name: str) -> None:
    with pytest.raises(RefusedError, match="is no name for a codec"):
        async with site.another_client(Named(name)):
            pass


@pytest.mark.parametrize("name", ["", "-", "acme/deflate-2 é"])
async def test_a_codec_of_ones_own_may_have_any_other_name(site: WorkersInMemory, name: str) -> None:
    await site.add(measures, codecs=(Named(name),))
    async with site.another_client(Named(name)) as client:
        run = await site.result(client.start(measures, "x" * 300_000))

        assert await site.result(run.result()) == 300_000


class Bloated:
    """Makes what it seals four times as large: nothing that Relight reckons with."""

    async def sealed(self, subject: str, data: bytes) -> bytes:
        del subject
        return data + b" " * (3 * len(data))

    async def opened(self, subject: str, data: bytes) -> bytes:
        del subject
        return data


async def test_a_turn_is_cut_until_its_parts_fit_however_large_a_codec_makes_them() -> None:
    server = MemoryServer(namespace="memory")
    door: Any = server.door("worker-1")
    door.seal = Bloated()
    log, numbers = Subjects("memory").log("run-1"), count()
    journal = Journal(door, log, owner="worker-1", new_append_id=lambda: f"worker-1.{next(numbers)}", tail=Tail())
    records = [ChildScheduled(f"child-{number}", "w" * 100, "q", "cancel", "p" * 60) for number in range(2_000)]

    await journal.append(records, epoch=1, lease=1, cursor=0, at_ms=1)

    stored = [decode_turn(one.data.rstrip()) for one in server.stream.read(log, after=0, limit=1_000)]
    assert [record for turn in stored if isinstance(turn, Turn) for record in turn.records] == records


@workflow
async def hears_two(ctx: WorkflowContext) -> str:
    return await ctx.wait_for_signal("first", type=str) + await ctx.wait_for_signal("Relit", type=str)


async def test_a_sealed_signal_may_have_the_name_of_a_message_of_our_own(site: WorkersInMemory) -> None:
    problems: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _loop, problem: problems.append(problem))
    await site.add(hears_two, codecs=codecs())
    async with site.another_client(*codecs()) as client:
        run = await site.result(client.start(hears_two))
        await site.result(run.signal("first", "a"))

        await site.result(run.signal("Relit", "b"))

        assert await site.result(run.result()) == "ab"
        assert problems == []
