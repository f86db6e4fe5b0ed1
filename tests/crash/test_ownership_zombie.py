"""A worker is stopped (SIGSTOP) until its runs are taken over, and continued: it must do nothing more to them.

The story takes as long as a lease takes to lapse, so it is played once and each test looks at one part of it.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from tests.crash.apps import gated, quick, retries, sleeps
from tests.crash.apps_fleet import Execution, Fleet
from tests.crash.apps_proxy import Proxy

from relight import Run
from relight.config.server import EmbeddedServer
from relight.subjects import records as r
from relight.subjects.turn import Turn

_ANSWERS = re.compile(rb"PUB (\$JS\.ACK\.\S+) +\d+\r\n(\+ACK|-NAK|\+WPI)")


@dataclass
class Story:
    """What was seen. Executions are by the name of the run."""

    zombie: int = 0
    heir: int = 0
    zombie_id: str = ""
    executions: dict[str, list[Execution]] = field(default_factory=dict[str, list[Execution]])
    results: dict[str, object] = field(default_factory=dict[str, object])
    journals: dict[str, tuple[Turn, ...]] = field(default_factory=dict[str, tuple[Turn, ...]])
    said_after: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])

    def steps(self, name: str) -> list[tuple[str, str]]:
        """Which step ran where."""
        places = {self.zombie: "zombie", self.heir: "heir"}
        return [(one.step, places[one.process]) for one in self.executions[name]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    directory = tmp_path_factory.mktemp("zombie")
    with EmbeddedServer(directory / "server") as server:
        yield asyncio.run(_play(server, directory))


async def _play(server: EmbeddedServer, directory: Path) -> Story:
    story = Story()
    other_gate = directory / "other_gate"
    other_gate.mkdir()
    names = ("gated", "quick", "retries", "sleeps")
    async with Proxy(server.url) as proxy, Fleet(server, "zombie", directory, sees_deaths=True) as fleet:
        # As many places as runs, so that what lapses comes to the heir only.
        zombie = await fleet.worker(*names, url=proxy.url, concurrency=5)
        main = proxy.part("main")
        runs: dict[str, Run[object]] = {}
        runs["in a step"] = await fleet.relight.start(gated, fleet.text)
        runs["before the append's answer"] = await fleet.relight.start(gated, str(other_gate))
        await fleet.soon("gate")
        await fleet.turned(runs["in a step"].id, 1)
        await fleet.turned(runs["before the append's answer"].id, 1)
        runs["before a retry"] = await fleet.relight.start(retries, fleet.text)
        await fleet.soon("fails_once")
        main.hold_after(b"Nats-Schedule", "server")
        runs["before the outbox's answer"] = await fleet.relight.start(sleeps, fleet.text, 2.0)
        await asyncio.wait_for(main.was_triggered.wait(), 20)
        (other_gate / "go").touch()
        await fleet.recorded(runs["before the append's answer"].id, r.StepCompleted, 2)

        zombie.signal(signal.SIGSTOP)
        main.let_go()
        runs["in its socket"] = await fleet.relight.start(quick, fleet.text)
        heir = await fleet.worker(*names)
        for name, run in runs.items():
            if name != "in a step":
                story.results[name] = await run.result(timeout=30)
        await fleet.soon("gate", 2, run=runs["in a step"].id)

        said = {one.name: len(one.said) for one in proxy.connections}
        os.kill(zombie.pid, signal.SIGCONT)
        await asyncio.sleep(2.5)  # More than one round of renewals: what is proven is that nothing happens.
        for one in proxy.connections:
            story.said_after += _ANSWERS.findall(bytes(one.said[said[one.name] :]))

        await heir.kill()
        await fleet.soon("gate", 3, run=runs["in a step"].id)
        fleet.open_the_gate()
        story.results["in a step"] = await runs["in a step"].result(timeout=20)
        await fleet.no_lease_left()

        story.zombie, story.heir, story.zombie_id = zombie.pid, heir.pid, zombie.id
        for name, run in runs.items():
            place = other_gate if name == "before the append's answer" else directory
            fleet.directory = place
            story.executions[name] = fleet.executions(run=run.id)
            story.journals[name] = await fleet.journal(run.id)
        fleet.directory = directory
    return story


def test_all_runs_of_a_stopped_worker_end_as_they_should(story: Story) -> None:
    assert story.results == {
        "in a step": "open",
        "before the append's answer": "open",
        "before the outbox's answer": 2,
        "before a retry": 1,
        "in its socket": 6,
    }


def test_a_worker_stopped_in_a_step_does_not_go_on_and_its_heirs_later_death_is_noticed(story: Story) -> None:
    steps = story.steps("in a step")

    # The third gate is the continued worker's, as the rightful owner after the heir's death.
    assert steps == [("one", "zombie"), ("gate", "zombie"), ("gate", "heir"), ("gate", "zombie"), ("two", "zombie")]
    assert [turn.epoch for turn in story.journals["in a step"]][-1] == 3


def test_a_worker_stopped_between_append_and_its_answer_launches_nothing_more(story: Story) -> None:
    assert story.steps("before the append's answer") == [("one", "zombie"), ("gate", "zombie"), ("two", "heir")]
    assert story.journals["before the append's answer"][-1].epoch == 2


def test_a_worker_stopped_between_outbox_and_ack_leaves_the_run_to_its_heir(story: Story) -> None:
    assert story.steps("before the outbox's answer") == [("one", "zombie"), ("two", "heir")]


def test_a_worker_stopped_before_a_retry_does_not_launch_it(story: Story) -> None:
    assert story.steps("before a retry") == [("fails_once", "zombie"), ("fails_once", "heir")]


def test_a_worker_does_not_begin_a_start_that_was_in_its_socket_while_it_was_stopped(story: Story) -> None:
    assert story.steps("in its socket") == [("one", "heir"), ("two", "heir"), ("three", "heir")]


def test_a_continued_worker_acks_naks_and_renews_nothing(story: Story) -> None:
    # It may acknowledge what came for runs that have ended: whoever gets such a message does.
    unfinished = {b"%d" % turn.lease for turn in story.journals["in a step"]}

    assert {word for _, word in story.said_after} <= {b"+ACK"}
    assert not unfinished & {token.split(b".")[5] for token, _ in story.said_after}
