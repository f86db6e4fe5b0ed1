"""Values that are stored apart survive a crash at every point like all else."""

from __future__ import annotations

import json

import pytest
from tests.crash.workers_in_memory import WorkersInMemory
from tests.crash.workflows import SCENARIOS, gives_back, grown

from relight import Encryption, Keys, WorkflowContext, step, workflow
from relight.actors import values
from relight.actors.codecs import Codec
from relight.actors.run.shelf import Shelf
from relight.config.limits import LIMITS
from relight.errors import ProtocolError
from relight.subjects.messages import Signal
from relight.subjects.references import Reference, digest_of, reference_to
from relight.testing import TestEnvironment
from relight.testing.crash import sweep
from relight.testing.trial import Scenario, Trial

LARGE = 300_000
"""Two chunks."""


async def test_a_run_whose_values_are_in_several_chunks_ends_alike_wherever_a_process_dies() -> None:
    report = await sweep(Scenario(workflow=gives_back, args=("a" * LARGE,)), workers=2)

    assert report.crashes >= 4 * report.operations


async def test_large_values_are_stored_once_and_records_hold_references() -> None:
    trial = Trial(SCENARIOS["carries"])

    await trial.play()

    assert trial.problems == []
    assert sum(len(data) for data in trial.stage.observer.journal("crash")) < 10_000
    # Argument, details and heartbeat are one; so are the child's argument and the step's result.
    assert len(trial.stage.observer.values("crash")) == 8


@workflow
async def gives(ctx: WorkflowContext, text: str) -> str:
    return await grown(text)


async def test_a_fork_takes_large_values_along_and_large_ones_instead() -> None:
    async with TestEnvironment([gives]) as environment:
        run = await environment.start(gives, "a" * LARGE)
        await run.result()

        same = await run.fork(after="grown#1")
        other = await run.fork(after="grown#1", replace={"grown#1": "b" * LARGE}, args=("a" * LARGE,))

        assert await same.result() == "a" * 2 * LARGE
        assert await other.result() == "b" * LARGE


async def test_a_value_of_several_megabytes_is_digested_beside_the_loop() -> None:
    async with TestEnvironment([gives]) as environment:
        run = await environment.start(gives, "a" * 2_000_000)

        assert len(await run.result()) == 4_000_000


@workflow
async def goes_on(ctx: WorkflowContext, text: str) -> str:
    """Continues as new with a large argument while a large signal waits."""
    if not text:
        await ctx.wait_for_signal("go", type=str)
        ctx.continue_as_new("a" * LARGE)
    return text + await ctx.wait_for_signal("more", type=str)


async def test_large_arguments_and_signals_go_over_to_the_next_history() -> None:
    async with TestEnvironment([goes_on]) as environment:
        run = await environment.start(goes_on, "")
        await run.signal("more", "m" * (LARGE // 2))
        await run.signal("go", "")

        assert await run.result() == "a" * LARGE + "m" * (LARGE // 2)


@pytest.mark.parametrize("text", ['{"$relight.value":"', "x"])
async def test_a_value_that_looks_like_a_reference_is_none(text: str) -> None:
    looks_alike: dict[str, object] = {"$relight.value": text, "bytes": 5}

    @step
    async def made() -> dict[str, object]:
        return dict(looks_alike)

    @workflow
    async def passes(ctx: WorkflowContext, given: dict[str, object]) -> list[dict[str, object]]:
        return [given, await made()]

    async with TestEnvironment([passes]) as environment:
        run = await environment.start(passes, looks_alike)

        assert await run.result() == [looks_alike, looks_alike]
        await environment.replay(run)


VALUE = b'"' + b"a" * LARGE + b'"'
DIGEST = digest_of(VALUE)
CODECS: list[tuple[Codec, ...]] = [(), (Encryption(Keys({"first": bytes(range(32))})),)]


@pytest.mark.parametrize("codecs", CODECS, ids=["plain", "sealed"])
@pytest.mark.parametrize(
    "changes",
    [
        {"nuid": ">"},
        {"nuid": f"other.{DIGEST}.00ff"},
        {"nuid": "x.*.00ff"},
        {"nuid": f"x.{DIGEST}"},
        {"nuid": f"x.{DIGEST}."},
        {"nuid": f"x.{DIGEST}.*"},
        {"nuid": f"x.{DIGEST}.>"},
        {"nuid": f"x.{DIGEST}.00.ff"},
        {"size": 10**15},
        {"size": LIMITS.value_bytes_max + 1},
        {"size": -1},
    ],
    ids=str,
)
async def test_a_description_that_is_none_of_this_value_is_unreadable(
    site: WorkersInMemory, codecs: tuple[Codec, ...], changes: dict[str, object]
) -> None:
    async with site.another_client(*codecs) as client:
        door, subjects = client.door, client.subjects
        await site.result(client.start(gives, VALUE[1:-1].decode(), id="x"))
        described = subjects.value("x", DIGEST)
        stored = await site.result(door.last(described))
        assert stored is not None
        assert await site.result(values.fetch(door, subjects, "x", Reference(DIGEST, len(VALUE)))) == VALUE

        await site.result(door.publish(described, json.dumps({**json.loads(stored.data), **changes}).encode()))

        with pytest.raises(ProtocolError, match="unreadable description"):
            await site.result(values.fetch(door, subjects, "x", Reference(DIGEST, len(VALUE))))


async def test_a_description_of_thousands_of_brackets_is_a_value_that_is_damaged(site: WorkersInMemory) -> None:
    async with site.another_client() as client:
        await site.result(client.start(gives, VALUE[1:-1].decode(), id="x"))
        await site.result(client.door.publish(client.subjects.value("x", DIGEST), b'{"more":' + b"[" * 100_000))
        shelf = Shelf(LIMITS.value_inline_bytes_max)
        signal = Signal("go", reference_to(DIGEST, len(VALUE)), "id")

        await site.result(values.fill(client.door, client.subjects, "x", shelf, [signal]))

        assert shelf.find(DIGEST) is None
