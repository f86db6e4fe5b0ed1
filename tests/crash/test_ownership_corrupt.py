"""The chain: what can't be believed parks the run as `corrupt`; nothing is skipped, guessed or begun anew."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from nats.aio.client import Client
from tests.crash.apps import waits
from tests.crash.apps_fleet import Fleet
from tests.raw_nats import connected, store

from relight import Run
from relight.config.server import EmbeddedServer
from relight.subjects.codec import decode_turn, encode
from relight.subjects.messages import Relit, Signal
from relight.subjects.turn import Turn, hash_of


async def waiting_run(fleet: Fleet) -> Run[str]:
    """A run that waits, and that no worker has in its memory any more."""
    worker = await fleet.worker("waits")
    run = await fleet.relight.start(waits, fleet.text)
    await fleet.status(run.id, "waiting")
    await fleet.no_lease_left()
    await worker.kill()
    await fleet.worker("waits")
    return run


def after_a_gap(last: bytes) -> bytes:
    turn = decode_turn(last)
    assert isinstance(turn, Turn)
    return encode(Turn(1, turn.number + 2, "x.1", turn.owner, turn.epoch, 1, turn.at_ms, hash_of(last), ()))


def after_a_wrong_hash(last: bytes) -> bytes:
    turn = decode_turn(last)
    assert isinstance(turn, Turn)
    previous = hash_of(b"other")
    return encode(Turn(1, turn.number + 1, "x.1", turn.owner, turn.epoch, 1, turn.at_ms, previous, turn.records))


def unreadable(last: bytes) -> bytes:
    return b"\x00 not a turn"


@pytest.mark.parametrize("broken", [after_a_gap, after_a_wrong_hash, unreadable])
async def test_a_journal_with_a_broken_end_parks_the_run_as_corrupt(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path, broken: Callable[[bytes], bytes]
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        run = await waiting_run(fleet)
        await append(fleet, connection, run.id, broken)
        turns = await fleet.relight.door.count(fleet.relight.subjects.log(run.id))

        await wake(fleet, connection, run.id)

        await fleet.appended(run.id, turns + 1)
        await is_corrupt(fleet, run)


async def test_a_journal_with_an_unreadable_middle_parks_the_run_as_corrupt(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        run = await waiting_run(fleet)
        last = await fleet.relight.door.last(fleet.relight.subjects.log(run.id))
        assert last is not None
        await append(fleet, connection, run.id, unreadable)
        await append(fleet, connection, run.id, lambda _: after_a_wrong_hash(last.data))

        await wake(fleet, connection, run.id)

        await is_corrupt(fleet, run)


async def test_a_journal_that_is_gone_although_the_mailbox_knows_of_it_is_never_begun_anew(
    shared_server: EmbeddedServer, namespace: str, tmp_path: Path
) -> None:
    async with Fleet(shared_server, namespace, tmp_path) as fleet, connected(shared_server.url) as connection:
        run = await waiting_run(fleet)
        subjects = fleet.relight.subjects
        await fleet.relight.door.purge(subjects.log(run.id))

        await store(connection, subjects.wake("default", run.id), encode(Relit(owner="nobody", epoch=1)))

        await is_corrupt(fleet, run)


async def is_corrupt(fleet: Fleet, run: Run[str]) -> None:
    """The run is parked, is left alone by further wakes, and none of its steps was run again."""
    description = await fleet.status(run.id, "parked")
    assert description.parked == "corrupt"
    await run.signal("anything")
    await fleet.no_lease_left()
    parked = await fleet.relight.door.count(fleet.relight.subjects.log(run.id))
    await run.signal("anything else")
    await fleet.no_lease_left()
    assert await fleet.relight.door.count(fleet.relight.subjects.log(run.id)) == parked
    assert [one.step for one in fleet.executions(run=run.id)] == ["one"]


async def wake(fleet: Fleet, connection: Client, run: str) -> None:
    """Put a message into the mailbox without a look at the journal."""
    await store(connection, fleet.relight.subjects.wake("default", run), encode(Signal(name="anything")))


async def append(fleet: Fleet, connection: Client, run: str, broken: Callable[[bytes], bytes]) -> None:
    subject = fleet.relight.subjects.log(run)
    last = await fleet.relight.door.last(subject)
    assert last is not None
    await store(connection, subject, broken(last.data))
