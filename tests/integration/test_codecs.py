"""Codecs on a real server: nothing that users put in is found anywhere, and nothing that was changed is believed."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.integration.cli_process import Terminal
from tests.raw_nats import connected
from tests.runs import kinds, recorded, suspended, until

from relight import (
    Codec,
    Encryption,
    Interceptor,
    Keys,
    RefusedError,
    Relight,
    RequestRejected,
    Retry,
    RunFailed,
    SealedError,
    StartCall,
    StepFailed,
    Worker,
    WorkflowContext,
    Zstd,
    step,
    workflow,
)
from relight.actors.journal import BrokenChainError, read_history
from relight.actors.retire import retire
from relight.config.server import EmbeddedServer
from relight.subjects import records as r
from relight.subjects.codec import decode_turn, encode
from relight.subjects.messages import Cancel
from relight.subjects.turn import Turn

CANARY = "canary-7f3a"
FIRST, SECOND = bytes(range(32)), bytes(range(1, 33))


class Tagged(Interceptor):
    """Puts a header into each start."""

    async def start(self, call: StartCall, next: Any) -> Any:
        call.headers["trace"] = f"{CANARY}-header"
        return await next(call)


@asynccontextmanager
async def opened(server: EmbeddedServer, namespace: str, *codecs: Codec) -> AsyncGenerator[Relight]:
    async with Relight(server.url, namespace=namespace, codecs=codecs, interceptors=[Tagged()]) as client:
        yield client


def encryption(keys: dict[str, bytes] | None = None) -> Encryption:
    return Encryption(Keys(keys or {"first": FIRST}))


@step(retry=Retry(attempts=2, delay=0.01))
async def fails(text: str) -> str:
    step.heartbeat(f"{text}-heartbeat")
    raise LookupError(f"{text}-error")


@step
async def grown(text: str) -> str:
    return text * 20_000


@workflow
async def gives_back(ctx: WorkflowContext, text: str) -> str:
    return f"{text}-child"


@workflow
async def tells_all(ctx: WorkflowContext, text: str) -> list[str]:
    ctx.set_details(f"{text}-details")
    awakeable = ctx.awakeable(type=str)
    try:
        await fails(text)
    except StepFailed as failed:
        ctx.set_details(f"{text}-details after {failed}")
    answer = await ctx.suspend("review", {"token": awakeable.token, "data": f"{text}-suspension"}, type=str)
    heard = await ctx.wait_for_signal("more", type=str)
    woken = await awakeable
    async for asked in ctx.requests("ask", type=str):
        if asked.data.endswith("reject"):
            await asked.reject(f"{text}-reason")
            break
        await asked.reply(f"{text}-reply")
    return [answer, heard, woken, await ctx.call(gives_back, text), await grown(text)]


@workflow
async def breaks(ctx: WorkflowContext, text: str) -> str:
    raise LookupError(f"{text}-failure")


async def talk(client: Relight) -> None:
    """Put the canary into everything."""
    run = await client.start(tells_all, CANARY)
    described = await suspended(run, "review")
    assert described.details == f"{CANARY}-details after {CANARY}-error"
    (created,) = await recorded(client, run, r.AwakeableCreated)
    token = created.token
    await run.signal("more", f"{CANARY}-signal")
    await client.complete(token, f"{CANARY}-awakeable")
    await run.resume("review", f"{CANARY}-answer")
    assert await run.request("ask", f"{CANARY}-asked", type=str) == f"{CANARY}-reply"
    with pytest.raises(RequestRejected, match=f"{CANARY}-reason"):
        await run.request("ask", f"{CANARY}-reject", type=str)
    assert await run.result(timeout=20) == [
        f"{CANARY}-answer",
        f"{CANARY}-signal",
        f"{CANARY}-awakeable",
        f"{CANARY}-child",
        CANARY * 20_000,
    ]
    with pytest.raises(RunFailed, match=f"{CANARY}-failure"):
        await client.call(breaks, CANARY)
    stopped = await client.start(tells_all, CANARY)
    await suspended(stopped, "review")
    await stopped.cancel(reason=f"{CANARY}-cancelled")
    await until(stopped, lambda seen: seen.status == "cancelled")


async def everything_sent(server: EmbeddedServer, work: Any) -> list[tuple[str, bytes]]:
    """What a subscription to all subjects sees meanwhile."""
    seen: list[tuple[str, bytes]] = []

    async def take(message: Any) -> None:
        seen.append((message.subject, bytes(message.data)))

    async with connected(server.url) as raw:
        await raw.subscribe(">", cb=take)  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
        await raw.flush()
        await work
        await raw.flush()
    return seen


@pytest.mark.parametrize("codecs", [(encryption(),), (Zstd(), encryption())], ids=["encryption", "both"])
async def test_a_canary_in_every_input_is_found_nowhere(
    server: EmbeddedServer, namespace: str, codecs: tuple[Codec, ...], capfd: pytest.CaptureFixture[str]
) -> None:
    async def work() -> None:
        async with opened(server, namespace, *codecs) as client, Worker(client, [tells_all, gives_back, breaks]):
            await talk(client)

    sent = await everything_sent(server, work())

    needles = (CANARY.encode(), b64encode(CANARY.encode())[:12], CANARY.encode().hex().encode())
    assert len(sent) > 50
    assert [subject for subject, data in sent if any(one in data for one in needles)] == []
    await asyncio.to_thread(server.stop)
    files = [one for one in server.directory.rglob("*") if one.is_file()]
    assert len(files) > 5
    assert [one for one in files if any(needle in one.read_bytes() for needle in needles)] == []
    said = capfd.readouterr()
    assert CANARY not in said.out + said.err


async def test_without_codecs_the_canary_is_found(server: EmbeddedServer, namespace: str) -> None:
    async def work() -> None:
        async with opened(server, namespace) as client, Worker(client, [tells_all, gives_back, breaks]):
            await talk(client)

    sent = await everything_sent(server, work())

    assert any(CANARY.encode() in data for _, data in sent)


@step
async def made(text: str) -> str:
    return f"{text}-made"


@workflow
async def waits(ctx: WorkflowContext, text: str) -> str:
    return f"{await made(text)} {await ctx.suspend('more', type=str)}"


async def test_a_rotated_key_is_used_for_new_runs_and_the_old_one_for_old_ones(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        old = await client.start(waits, "old")
        await suspended(old, "more")

    both = encryption({"first": FIRST, "second": SECOND})
    async with opened(shared_server, namespace, both) as client, Worker(client, [waits]):
        new = await client.start(waits, "new")
        for run in (client.get_run(old.id, type=str), new):
            await run.resume("more", "on")
        assert await client.get_run(old.id, type=str).result(timeout=20) == "old-made on"
        assert await new.result(timeout=20) == "new-made on"
        assert await chain_of(client, old.id) == await chain_of(client, new.id) == "RunCompleted"

    async with opened(shared_server, namespace, encryption({"second": SECOND})) as client:
        assert await client.get_run(new.id, type=str).result() == "new-made on"
        with pytest.raises(SealedError, match="is sealed with aes256gcm and data key"):
            await client.get_run(old.id, type=str).result()


async def test_runs_of_both_kinds_work_side_by_side(shared_server: EmbeddedServer, namespace: str) -> None:
    async with opened(shared_server, namespace) as client:
        plain = await client.start(waits, "plain")
    async with opened(shared_server, namespace, Zstd()) as client:
        compressed = await client.start(waits, "compressed")
    async with opened(shared_server, namespace, Zstd(), encryption()) as client, Worker(client, [waits]):
        sealed = await client.start(waits, "sealed")
        for run in (client.get_run(plain.id, type=str), client.get_run(compressed.id, type=str), sealed):
            await run.resume("more", "on")
            assert (await run.result(timeout=20)).endswith("-made on")
        assert [turn.sealed for turn in await stored(client, plain.id)] == [""] * len(await stored(client, plain.id))


async def chain_of(client: Relight, run: str) -> str:
    """Check the chain of a run, and return the kind of its last record."""
    log = client.subjects.log(run)
    last = await client.door.last(log)
    assert last is not None
    history = await read_history(client.door, log, last)
    return type(history.turns[-1].records[-1]).__name__


async def stored(client: Relight, run: str) -> list[Turn]:
    async with Relight(list(client.settings.servers), namespace=client.settings.namespace) as plain:
        turns = [decode_turn(one.data) for one in await plain.door.read(plain.subjects.log(run), after=0, limit=1000)]
    return [one for one in turns if isinstance(one, Turn)]


async def test_show_says_why_values_of_a_sealed_run_are_not_shown(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    place = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}
    keys = {"RELIGHT_ENCRYPTION_KEYS": f"first:{b64encode(FIRST).decode()}"}
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        run = await client.start(waits, CANARY)
        await run.resume("more", "on")
        await run.result(timeout=10)

        without, with_key = [await Terminal(tmp_path, {**place, **one}).run("show", run.id) for one in ({}, keys)]

    assert "RELIGHT_ENCRYPTION_KEYS" in without.out
    assert "RELIGHT_ENCRYPTION_KEYS" not in with_key.out
    assert (CANARY in without.out, CANARY in with_key.out) == (False, True)


APP = """
from relight import WorkflowContext, step, workflow

@step
async def made(text: str) -> str: ...

@workflow
async def waits(ctx: WorkflowContext, text: str) -> str:
    return f"{await made(text)} {await ctx.suspend('more', type=str)}"
"""


async def test_who_lacks_the_key_is_told_nothing_of_what_a_history_says(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    place = {"RELIGHT_URL": shared_server.url, "RELIGHT_NAMESPACE": namespace}
    keys = {"RELIGHT_ENCRYPTION_KEYS": f"first:{b64encode(FIRST).decode()}"}
    tmp_path.joinpath("app.py").write_text(APP)
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        for id, answer in (("one", "on"), ("other", "off")):
            run = await client.start(waits, CANARY, id=id)
            await run.resume("more", answer)
            await run.result(timeout=10)
    without, with_key = [Terminal(tmp_path, {**place, **one}) for one in ({}, keys)]

    skipped, replayed = [await one.run("replay", "app.py", "--from-server") for one in (without, with_key)]
    refused, compared = [await one.run("diff", "one", "other") for one in (without, with_key)]

    assert (skipped.code, skipped.out) == (0, "ok: 0 histories replay on today's code; skipped: 2 that can't be read\n")
    assert "run one was not replayed: run 'one' is sealed" in skipped.err
    assert replayed.out == "ok: 2 histories replay on today's code\n"
    assert (refused.code, refused.out) == (1, "")
    assert "run 'one' is sealed" in refused.err
    assert "off" in compared.out


async def test_who_has_no_codec_gives_the_run_back_sends_it_nothing_and_sees_that_it_is_sealed(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with opened(shared_server, namespace, encryption()) as client:
        run = await client.start(waits, CANARY)
    async with opened(shared_server, namespace) as plain:
        theirs = plain.get_run(run.id, type=str)
        with capture_logs() as lines:
            async with Worker(plain, [waits]), asyncio.timeout(20):
                while not any(one["event"] == "delivery_postponed" for one in lines):
                    await asyncio.sleep(0.01)
                assert (await theirs.describe()).status == "queued"
        with pytest.raises(SealedError, match=r"codecs and keys of its workers \(RELIGHT_ENCRYPTION_KEYS\)"):
            await theirs.resume("more", "on")
        with pytest.raises(SealedError, match="is sealed"):
            await plain.start(waits, CANARY, id=run.id)
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        await suspended(client.get_run(run.id), "more")
        async with opened(shared_server, namespace) as plain, Worker(plain, [waits]):
            await client.get_run(run.id).resume("more", "on")
            assert await client.get_run(run.id, type=str).result(timeout=30) == f"{CANARY}-made on"
    async with opened(shared_server, namespace) as plain:
        theirs = plain.get_run(run.id, type=str)
        assert (await theirs.describe()).status == "completed"
        assert (await kinds(theirs))[-1] == "RunCompleted"
        with pytest.raises(SealedError):
            await theirs.result()


async def test_a_destroyed_key_makes_a_run_unreadable_while_its_chain_holds(
    shared_server: EmbeddedServer, namespace: str
) -> None:
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        run = await client.start(waits, "old")
        await run.resume("more", "on")
        await run.result(timeout=20)
        other = await client.start(waits, "other")
        await run.shred()
        await run.shred()

    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        with pytest.raises(SealedError):
            await client.get_run(run.id).result()
        assert await chain_of(client, run.id) == "RunCompleted"
        await client.get_run(other.id).resume("more", "on")
        assert await client.get_run(other.id, type=str).result(timeout=20) == "other-made on"
        await retire(client.door, client.subjects, run.id)


async def test_a_key_that_was_deleted_in_its_bucket_is_destroyed(shared_server: EmbeddedServer, namespace: str) -> None:
    async with opened(shared_server, namespace, encryption()) as client:
        run = await client.start(waits, "old")
        (key,) = await client.door.subjects(client.subjects.key(run.id, "*"), limit=2)
    async with connected(shared_server.url) as connection:
        jetstream = connection.jetstream()  # pyright: ignore[reportUnknownMemberType]  # its options are untyped
        bucket = await jetstream.key_value(f"RELIGHT_{namespace}_KEYS")
        await bucket.delete(key.split(".", 2)[2])

    async with opened(shared_server, namespace, encryption()) as client:
        with pytest.raises(SealedError, match="was destroyed"):
            await client.get_run(run.id).signal("more", "on")


async def test_retiring_a_run_destroys_its_key(shared_server: EmbeddedServer, namespace: str) -> None:
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        run = await client.start(waits, "a" * 100_000)
        await run.resume("more", "on")
        await run.result(timeout=20)
        keys = client.subjects.key(run.id, "*")
        assert len(await client.door.subjects(keys, limit=10)) == 1

        await retire(client.door, client.subjects, run.id)

        assert await client.door.subjects(keys, limit=10) == []
        assert await client.door.subjects(client.subjects.value_chunks(f"{run.id}.*.*"), limit=10) == []


@pytest.mark.parametrize("what", ["sealed", "readable"])
async def test_a_history_that_was_changed_is_refused(shared_server: EmbeddedServer, namespace: str, what: str) -> None:
    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        run = await client.start(waits, "a")
        await suspended(run, "more")
    async with opened(shared_server, namespace) as plain:
        log = plain.subjects.log(run.id)
        last = await plain.door.last(log)
        assert last is not None
        turn = decode_turn(last.data)
        assert isinstance(turn, Turn)
        await plain.door.remove(log, last.sequence)
        await plain.door.publish(log, changed(turn, what))

    async with opened(shared_server, namespace, encryption()) as client, Worker(client, [waits]):
        last = await client.door.last(log)
        assert last is not None
        with pytest.raises(BrokenChainError):
            await read_history(client.door, log, last)
        await client.door.publish(client.subjects.wake("default", run.id), encode(Cancel()))
        async with asyncio.timeout(20):
            while not (last := await client.door.last(log)) or b'"corrupt"' not in last.data:
                await asyncio.sleep(0.01)
        assert (await client.get_run(run.id).describe()).parked == "corrupt"


def changed(turn: Turn, what: str) -> bytes:
    if what == "readable":
        return encode(turn).replace(b'"name":"more"', b'"name":"less"')
    header, _, body = turn.sealed.rpartition(":")
    other = f"{header}:{body[:-8]}{'A' if body[-8] != 'A' else 'B'}{body[-7:]}"
    return encode(turn).replace(turn.sealed.encode(), other.encode())


async def test_the_keys_of_the_environment_are_taken(
    shared_server: EmbeddedServer, namespace: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELIGHT_ENCRYPTION_KEYS", f"first:{b64encode(FIRST).decode()}")
    async with Relight(shared_server.url, namespace=namespace) as client, Worker(client, [waits]):
        run = await client.start(waits, CANARY)
        async with opened(shared_server, namespace, Zstd(), encryption()) as other:
            compressed = await other.start(waits, "compressed")
        for one in (run, client.get_run(compressed.id, type=str)):
            await one.resume("more", "on")
            assert (await one.result(timeout=20)).endswith("-made on")
        monkeypatch.delenv("RELIGHT_ENCRYPTION_KEYS")
        assert all(turn.sealed for turn in await stored(client, run.id))


@pytest.mark.parametrize("text", ["", "first", "first:", "first:AAAA", "first:???", ":AAAA"])
def test_keys_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(RefusedError, match="key 1 of RELIGHT_ENCRYPTION_KEYS is no id:base64 of 32 bytes; `openssl"):
        Keys.read(text)


def test_an_id_that_stands_for_two_keys_is_refused() -> None:
    one = f"first:{b64encode(FIRST).decode()}"

    with pytest.raises(RefusedError, match="'first' stands twice"):
        Keys.read(f"{one},{one}")
