"""A key provider that fails for a while: what is stored is not taken for damaged, and nothing that came is lost."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from tests.crash.workers_in_memory import WorkersInMemory

from relight import Encryption, Keys, Relight, SealedError, UnavailableError, Workflow, WorkflowContext, step, workflow
from relight.actors.codecs import WrappedKey
from relight.actors.retire import retire
from relight.config.limits import LIMITS
from relight.subjects import records as r
from relight.subjects.codec import encode
from relight.subjects.messages import Sealed

KEYS = Keys({"first": bytes(range(32))})
LARGE = 300_000
FORGOTTEN_S = 400.0
"""After this long nobody remembers a data key."""
NO_ANSWER = json.JSONDecodeError("Expecting value", "<html>", 0)
AWAY = (NO_ANSWER, ConnectionError("it is away"), LookupError("the key is not known here"))

executed: list[str] = []
may_end = asyncio.Event()


class Failing:
    """Unwraps unless it is told to fail: so many times, for one run, with `error`, or with something else instead."""

    def __init__(self) -> None:
        self.error: Exception | None = None
        self.instead: bytes | None = None
        self.fails_times = 0
        self.fails_for = ""
        self.failures = 0

    async def wrap(self, data_key: bytes, *, run: str) -> WrappedKey:
        return await KEYS.wrap(data_key, run=run)

    async def unwrap(self, wrapped: WrappedKey, *, run: str) -> bytes:
        error = self.error
        if (error is None and self.instead is None) or self.fails_for not in ("", run):
            return await KEYS.unwrap(wrapped, run=run)
        self.failures += 1
        if self.failures == self.fails_times:
            self.error = None
        if error is not None:
            raise error
        assert self.instead is not None
        return self.instead


@step
async def charge(amount: int) -> str:
    executed.append("charge")
    await may_end.wait()
    return "charged"


@step(effect="unsafe")
async def charge_once(amount: int) -> str:
    executed.append("charge_once")
    await may_end.wait()
    return "charged"


@workflow
async def answered(ctx: WorkflowContext) -> str:
    return await ctx.suspend("go", type=str)


@workflow
async def charges(ctx: WorkflowContext) -> str:
    return await charge(1)


@workflow
async def charges_once(ctx: WorkflowContext) -> str:
    return await charge_once(1)


@workflow
async def hears_beside(ctx: WorkflowContext) -> tuple[str, int]:
    charging = asyncio.ensure_future(charge(1))
    heard = await ctx.wait_for_signal("note", type=str)
    return await charging, len(heard)


@workflow
async def measures(ctx: WorkflowContext, text: str) -> int:
    return len(text) + len(await ctx.suspend("go", type=str))


@pytest.fixture(autouse=True)
def steps_to_end() -> None:
    global may_end
    executed.clear()
    may_end = asyncio.Event()


@asynccontextmanager
async def client_of(site: WorkersInMemory) -> AsyncGenerator[Relight]:
    """One whose keys are always at hand."""
    async with site.another_client(Encryption(KEYS)) as client:
        yield client


@pytest.mark.parametrize("error", AWAY, ids=repr)
async def test_a_provider_that_fails_once_damages_no_history(site: WorkersInMemory, error: Exception) -> None:
    keys = Failing()
    await site.add(answered, codecs=(Encryption(keys),))
    async with client_of(site) as client:
        run = await site.result(client.start(answered))
        await site.pass_time(FORGOTTEN_S)

        keys.error, keys.fails_times = error, 1
        await site.result(run.resume("go", "on"))

        assert await site.result(run.result()) == "on"
        assert keys.failures == 1
        turns = site.turns(run.id)
        assert [turn.number for turn in turns] == [1, 2, 3]
        assert [type(one) for one in turns[1].records] == [r.Claimed]


async def test_what_is_no_data_key_damages_no_history(site: WorkersInMemory) -> None:
    keys = Failing()
    await site.add(answered, codecs=(Encryption(keys),))
    async with client_of(site) as client:
        run = await site.result(client.start(answered))
        await site.pass_time(FORGOTTEN_S)

        keys.instead = b"<html>"
        await site.result(run.resume("go", "on"))
        await site.pass_time(5)
        keys.instead = None

        assert await site.result(run.result()) == "on"
        assert keys.failures > 0
        assert site.records(run.id, r.Parked) == []


@pytest.mark.parametrize("size", [1, LARGE])
@pytest.mark.parametrize("error", AWAY, ids=repr)
async def test_a_signal_that_can_not_be_opened_just_now_is_opened_later(
    site: WorkersInMemory, error: Exception, size: int
) -> None:
    keys = Failing()
    await site.add(hears_beside, codecs=(Encryption(keys),))
    async with client_of(site) as client:
        run = await site.result(client.start(hears_beside))
        await site.pass_time(FORGOTTEN_S)

        keys.error = error
        await site.result(run.signal("note", "x" * size))
        await site.pass_time(60)
        keys.error = None
        await site.pass_time(60)
        may_end.set()

        assert await site.result(run.result()) == ("charged", size)
        assert keys.failures > 0
        assert executed == ["charge"]


@pytest.mark.parametrize("charging", [charges, charges_once], ids=lambda one: one.name)
@pytest.mark.parametrize("error", AWAY, ids=repr)
async def test_a_result_that_can_not_be_sealed_just_now_is_recorded_later(
    site: WorkersInMemory, error: Exception, charging: Workflow[[], str]
) -> None:
    keys = Failing()
    await site.add(charging, codecs=(Encryption(keys),))
    async with client_of(site) as client:
        run = await site.result(client.start(charging))
        await site.pass_time(2 * LIMITS.tombstone_s)

        keys.error = error
        may_end.set()
        await site.pass_time(60)
        keys.error = None

        assert await site.result(run.result()) == "charged"
        assert keys.failures > 0
        assert len(executed) == 1


@pytest.mark.parametrize("error", AWAY, ids=repr)
async def test_a_large_value_is_not_missing_because_the_provider_is_away(
    site: WorkersInMemory, error: Exception
) -> None:
    keys = Failing()
    await site.add(measures, codecs=(Encryption(keys),))
    async with client_of(site) as client:
        run = await site.result(client.start(measures, "x" * LARGE))
        await site.pass_time(FORGOTTEN_S)

        keys.error = error
        await site.result(run.resume("go", "on"))
        await site.pass_time(60)
        keys.error = None

        assert await site.result(run.result()) == LARGE + 2
        assert site.records(run.id, r.Parked) == []


async def test_a_chunk_that_can_not_be_opened_just_now_is_not_taken_for_damaged(site: WorkersInMemory) -> None:
    keys = Failing()
    keys.error = LookupError("the key is not known here")
    async with client_of(site) as client, site.another_client(Encryption(keys)) as another:
        run = await site.result(client.start(measures, "x" * LARGE))
        (subject,) = site.server.stream.subjects(client.subjects.value_chunks(f"{run.id}.*.*"), limit=10)
        chunk, seal = site.server.stream.last(subject), another.door.seal
        assert chunk is not None
        assert seal is not None

        with pytest.raises(SealedError, match="is not known here"):
            await seal.opened(subject, chunk.data)


@workflow
async def sends_much(ctx: WorkflowContext) -> str:
    await ctx.sleep(1000)
    return "x" * LARGE


@workflow
async def has_a_child(ctx: WorkflowContext) -> int:
    return len(await ctx.call(sends_much, id="child"))


@pytest.mark.parametrize("times", range(1, 5))
async def test_a_child_waits_until_its_large_result_can_be_stored_for_its_parent(
    site: WorkersInMemory, times: int
) -> None:
    keys = Failing()
    async with client_of(site) as client:
        site.client = client
        await site.add(has_a_child, sends_much, codecs=(Encryption(keys),))
        run = await site.result(client.start(has_a_child, id="parent"))
        await site.pass_time(FORGOTTEN_S)

        keys.error, keys.fails_for, keys.fails_times = LookupError("the key is not known here"), "parent", times

        assert await site.result(run.result()) == LARGE
        assert keys.failures == times


async def test_a_client_is_told_that_the_provider_is_away(site: WorkersInMemory) -> None:
    keys = Failing()
    async with client_of(site) as client, site.another_client(Encryption(keys)) as another:
        run = await site.result(client.start(answered))

        keys.error = NO_ANSWER
        with pytest.raises(UnavailableError, match="Expecting value"):
            await site.result(another.get_run(run.id).signal("note", "x"))
        keys.error = LookupError("the key is not known here")
        with pytest.raises(SealedError, match="the key is not known here"):
            await site.result(another.get_run(run.id).signal("note", "x"))


async def test_mail_for_an_earlier_run_of_the_id_does_not_hold_up_a_later_one(site: WorkersInMemory) -> None:
    await site.add(answered, codecs=(Encryption(KEYS),))
    async with client_of(site) as client:
        first = await site.result(client.start(answered, id="x"))
        await site.result(first.resume("go", "first"))
        await site.result(first.result())
        await site.pass_time(5)
        sealed = encode(Sealed("Signal", site.turns("x")[-1].sealed, "note"))
        await site.result(retire(client.door, client.subjects, "x"))
        await site.pass_time(LIMITS.tombstone_s + 100)
        second = await site.result(client.start(answered, id="x"))
        for late in (sealed, encode(Sealed("Signal", "-:-:", "note"))):
            await site.result(site.client.door.publish(client.subjects.wake("default", "x"), late))

        await site.result(second.resume("go", "second"))

        assert await site.result(second.result()) == "second"
