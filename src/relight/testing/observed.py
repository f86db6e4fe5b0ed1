"""What a test may know of runs without asking anybody: read from the server in memory, at once."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast, final

import msgspec

from relight.actors.codecs import Codec
from relight.actors.door import Door, Stored
from relight.actors.letters import Sight
from relight.actors.run.cause import Cause, Mailbox, cause
from relight.actors.run.state import RunState
from relight.actors.sealing import SealingDoor
from relight.actors.starts import start_in
from relight.errors import ProtocolError
from relight.subjects import records as r
from relight.subjects.codec import decode_turn, decode_wake, encode
from relight.subjects.messages import TimerDue
from relight.subjects.references import digest_of
from relight.subjects.turn import GENESIS, Turn, hash_of, opens_history
from relight.testing.memory.server import MemoryServer

__all__ = ("Observer", "in_lines")

_EVERYTHING = 1_000_000


@lru_cache(maxsize=10_000)
def _turn(data: bytes) -> Turn:
    turn = decode_turn(data)
    assert isinstance(turn, Turn), "no test in memory retires a run that it observes"
    return turn


class _Stream:
    """As much of a door as it takes to look up data keys, at once."""

    def __init__(self, server: MemoryServer) -> None:
        self._server = server
        self.clock = server.clock

    def __getattr__(self, name: str) -> None:
        """Nothing else is used."""

    async def last(self, subject: str) -> Stored | None:
        return self._server.stream.last(subject)


@final
class Observer:
    """Looks at the runs that a server in memory stores, sealed ones by these codecs."""

    def __init__(self, server: MemoryServer, codecs: Sequence[Codec] = ()) -> None:
        self._server = server
        self._seal = SealingDoor(cast("Door", _Stream(server)), server.subjects, codecs) if codecs else None
        self._known: dict[str, tuple[int, int, RunState]] = {}
        self._finished: dict[str, tuple[int, set[str]]] = {}

    def runs(self) -> list[str]:
        """Ids of all runs that were started, in the order of their starts."""
        starts = [_run_of(one) for one in self._server.stream.every(self._server.subjects.every_start())]
        return [one for one in starts if one is not None]

    def turns(self, run: str) -> list[Turn]:
        """Those from the last `Continued` on."""
        log = self._server.subjects.log(run)
        turns = [_turn(self._opened(log, data)) for data in self.journal(run)]
        openings = [index for index, turn in enumerate(turns) if opens_history(turn)]
        return turns[openings[-1] :] if openings else turns

    def journal(self, run: str) -> list[bytes]:
        stored = self._server.stream.read(self._server.subjects.log(run), after=0, limit=_EVERYTHING)
        return [one.data for one in stored]

    def records(self, run: str) -> list[r.Record]:
        return [record for turn in self.turns(run) for record in turn.records]

    def finished(self, run: str) -> set[str]:
        """Steps of the run that have an outcome, since the last `Continued`. Only what is new is read."""
        known, finished = self._finished.get(run, (0, set[str]()))
        for sequence, turn in self._turns_after(run, known):
            if opens_history(turn):
                finished.clear()
            outcomes = [record for record in turn.records if isinstance(record, r.StepCompleted | r.StepFailed)]
            finished.update(outcome.step for outcome in outcomes)
            known = sequence
        self._finished[run] = (known, finished)
        return finished

    def values(self, run: str) -> dict[str, bytes]:
        """Values of the run that are stored apart, by digest: each as one of the tries to store it left it."""
        tries: dict[str, dict[str, bytes]] = {}
        for one in self._server.stream.every(self._server.subjects.value_chunks(f"{run}.*.*")):
            of_digest = tries.setdefault(one.subject.split(".")[-2], {})
            of_digest[one.subject] = of_digest.get(one.subject, b"") + self._opened(one.subject, one.data)
        return {
            digest_of(data): data
            for digest, stored in tries.items()
            for data in stored.values()
            if digest_of(data) == digest or self._seal is not None
        }

    def _opened(self, subject: str, data: bytes) -> bytes:
        if self._seal is None:
            return data
        opening = self._seal.opened(subject, data)
        try:
            opening.send(None)
        except StopIteration as done:
            return cast("bytes", done.value)
        raise AssertionError("it waits for nothing")

    def state(self, run: str) -> RunState:
        """What the run's history amounts to; of a run that has not begun: its start.

        Not to be changed, and not to be kept: it goes on with the history, of which only what is new is read.
        """
        stored = self._server.stream.last_sequence
        known, looked_at, state = self._known.get(run, (0, -1, RunState()))
        if looked_at == stored:
            return state
        for sequence, turn in self._turns_after(run, known):
            state = RunState() if opens_history(turn) else state
            for record in turn.records:
                state.apply(record, turn.at_ms)
            known = sequence
        if known == 0:
            return self._begun_by_start(run)
        self._known[run] = (known, stored, state)
        return state

    def sight(self, run: str) -> Sight:
        turns = self.turns(run)
        size = sum(len(data) for data in self.journal(run))
        tail = turns[-1] if turns else None
        return Sight(run=run, state=self.state(run), tail=tail, unread=len(self._unread(run)), bytes=size)

    def cause(self, run: str) -> Cause | None:
        """What will wake the run."""
        return cause(self.state(run), self.mailbox(run))

    def mailbox(self, run: str) -> Mailbox:
        return Mailbox(unread=self._unread(run), pending=self.pending(run), scheduled_ms=self._scheduled_ms(run))

    def pending(self, run: str) -> list[int]:
        """Sequences of the run's starts and wakes that are not acknowledged."""
        subjects = self._server.subjects
        return [
            *self._server.unacknowledged(subjects.start_any_queue(run)),
            *self._server.unacknowledged(subjects.wake("*", run)),
        ]

    def timers(self, run: str) -> list[str]:
        return [one.subject for one in self._server.stream.every(self._server.subjects.timers(run))]

    def broken_link(self, run: str) -> str | None:
        """Say where the chain of the run's journal breaks, None if it holds."""
        journal = self.journal(run)
        first, previous = 1, GENESIS
        if journal and opens_history(opened := _turn(journal[0])):
            first, previous = opened.number, opened.previous
        for number, data in enumerate(journal, first):
            turn = _turn(data)
            if turn.number != number or turn.previous != previous:
                return f"turn {turn.number} (the {number}. message) does not follow the one before it"
            previous = hash_of(data)
        return None

    def _turns_after(self, run: str, sequence: int) -> list[tuple[int, Turn]]:
        log = self._server.subjects.log(run)
        stored = self._server.stream.read(log, after=sequence, limit=_EVERYTHING)
        return [(one.sequence, _turn(self._opened(log, one.data))) for one in stored]

    def _begun_by_start(self, run: str) -> RunState:
        state = RunState()
        stored = self._server.stream.last(self._server.subjects.start_any_queue(run))
        if stored is not None and (start := start_in(stored)) is not None:
            state.apply(start.started, start.stored_at_ms)
        return state

    def _unread(self, run: str) -> list[int]:
        turns = self.turns(run)
        cursor = turns[-1].cursor if turns else 0
        stored = self._server.stream.every(self._server.subjects.wake("*", run))
        return [one.sequence for one in stored if one.sequence > cursor]

    def _scheduled_ms(self, run: str) -> list[int]:
        due: list[int] = []
        for stored in self._server.stream.every(self._server.subjects.timers(run)):
            try:
                wake = decode_wake(stored.data)
            except ProtocolError:
                continue  # It will wake the run, but at a time that nobody can read.
            if isinstance(wake, TimerDue):
                due.append(wake.due_ms)
        return due


@lru_cache(maxsize=1024)
def _run_of(stored: Stored) -> str | None:
    start = start_in(stored)
    return None if start is None else start.run


def in_lines(turns: list[Turn]) -> str:
    """Return a history as text, one record a line."""
    lines: list[str] = []
    for turn in turns:
        where = f"epoch {turn.epoch}, lease {turn.lease}, cursor {turn.cursor}"
        lines.append(f"turn {turn.number} by {turn.owner}, {where}")
        lines += [f"    {_in_line(record)}"[:240] for record in turn.records]
    return "\n".join(lines) or "(no history)"


def _in_line(record: r.Record) -> str:
    fields: dict[str, object] = msgspec.json.decode(encode(record))
    kind = fields.pop("kind")
    return f"{kind}({', '.join(f'{name}={value!r}' for name, value in fields.items())})"
