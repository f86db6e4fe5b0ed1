"""A fork: a new run from a copy of the beginning of another's history.

The copy is a journal without a start: nothing wakes it, and nobody finds the run. The start is stored last. Until then
whoever repeats the fork under the same id finds what was copied, and copies the rest; the first record says of what
the copy is, how many records it has and what their hash is, so that two different forks never mix.

No worker has written a copied turn: its epoch is 0, and the worker that gets the start claims it without asking. If
somebody else's start was stored first, that one counts: the worker removes the copy, and nobody completes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

import msgspec
from msgspec import Raw

from relight.actors.door import Door
from relight.actors.journal import BrokenChainError, Displaced, History, Journal, Tail, not_open, read_history, readable
from relight.actors.run.hold import held_at_end
from relight.actors.run.state import fold
from relight.errors import ConflictError, RefusedError, RunNotFoundError
from relight.subjects import records as r
from relight.subjects.codec import decode_turn, encode
from relight.subjects.envelope import check_open
from relight.subjects.grammar import Subjects
from relight.subjects.turn import COPIED_EPOCH, Tombstone, hash_of

__all__ = (
    "Arguments",
    "Copy",
    "Cut",
    "copied",
    "cut_after",
    "cut_before",
    "is_copied_for",
    "is_start_of",
    "planned",
    "read_origin",
    "started_in",
)

_NOBODY = ""
_NAMED_MAX = 10
"""Steps in an error; `relight history` shows all."""

Cut: TypeAlias = Callable[[r.Record], bool | None]
"""Says of each record whether the copy ends with it (True), before it (False), or goes on (None)."""

Copy: TypeAlias = tuple["CopiedTurn", ...]


class CopiedTurn(NamedTuple):
    at_ms: int
    records: tuple[r.Record, ...]


class Arguments(NamedTuple):
    """What the fork gets instead of the origin's, and the digest of a start with them."""

    values: tuple[Raw, ...]
    digest: str


def cut_after(step: str) -> Cut:
    """The copy ends with the outcome of this step."""
    return lambda record: True if isinstance(record, r.StepCompleted | r.StepFailed) and record.step == step else None


def cut_before(step: str) -> Cut:
    """The copy ends before this step is asked for."""
    return lambda record: False if isinstance(record, r.StepScheduled) and record.step == step else None


async def read_origin(door: Door, subject: str, run: str) -> History:
    """Return the history that is to be copied.

    Raises:
        RunNotFoundError: The run has no history, or was retired.
        RefusedError: Its history is corrupt.
        UnavailableError: The server was not reached.
    """
    history = await _stored(door, subject, run)
    if history is None:
        raise RunNotFoundError(run)
    return history


async def _stored(door: Door, subject: str, run: str) -> History | None:
    last = await door.last(subject)
    if last is None:
        return None
    turn = decode_turn(last.data)
    if isinstance(turn, Tombstone):
        raise RunNotFoundError(run)
    check_open(turn, run)
    try:
        history = await read_history(door, subject, last)
        assert history.started, "it says so, or raises"
        return history
    except BrokenChainError as error:
        raise RefusedError(f"run {run!r} is corrupt: {error}") from error


def planned(
    origin: History,
    run: str,
    cut: Cut,
    replace: Mapping[str, Raw],
    *,
    step: str,
    client: str,
    now_ms: int,
    arguments: Arguments | None = None,
    forked_at_ms: int | None = None,
) -> Copy:
    """Return what the journal of the fork begins with, with other arguments if some are given.

    Args:
        origin: What is copied.
        run: Whose history that is.
        cut: Where the copy ends.
        replace: Other results, by the step's key.
        step: Where the cut was asked for.
        client: Who forks.
        now_ms: The time.
        arguments: Instead of the origin's.
        forked_at_ms: When the origin began, if it is a fork itself: its time-out was longer by what was before.

    Raises:
        RefusedError: The history has no such step, `replace` names a step without outcome in the copied part, or the
            copied part has children or awakeables, which belong to the old run; or a record in it is about a step that
            is not open.
    """
    kept = _kept(origin, cut)
    if kept is None:
        recorded = (record for one in origin.turns for record in one.records)
        raise RefusedError(
            f"step {step!r} is not in the history of run {run!r}, or has no outcome; give {_one_of(_ended(recorded))}"
        )
    _check(kept, run, replace)
    turns = [CopiedTurn(one.at_ms, tuple(_replaced(record, replace) for record in one.records)) for one in kept]
    try:
        began_ms = fold(turns).started_at_ms
        turns = [CopiedTurn(*one) for one in held_at_end(turns)]
        state = fold(turns)
    except KeyError as error:
        raise RefusedError(f"run {run!r} is corrupt: {not_open(error)}") from error
    started = started_in(turns)
    is_later = state.is_copied or state.generation > 1
    rest = [record for one in turns for record in one.records if record is not started]
    values = started.arguments if arguments is None else arguments.values
    # Two forks with other arguments are not the same.
    others = b"" if arguments is None else b"".join(b"\0" + bytes(one) for one in values)
    first = msgspec.structs.replace(
        started,
        arguments=values,
        digest=started.digest if arguments is None else arguments.digest,
        unchecked=started.unchecked or arguments is not None,
        client=client,
        timeout_ms=_timeout_ms(started, began_ms, forked_at_ms, now_ms if is_later else None),
        deadline_ms=None,
        parent=None,
        parent_queue="",
        asked_ms=0,
        version="",  # It is for today's code.
        origin=run,
        origin_records=1 + len(rest),
        origin_hash=hash_of(b"".join(encode(record) for record in rest) + others),
    )
    opening = tuple(first if record is started else record for record in turns[0].records)
    return (CopiedTurn(turns[0].at_ms, opening), *turns[1:])


def _timeout_ms(started: r.RunStarted, began_ms: int, forked_at_ms: int | None, now_ms: int | None) -> int | None:
    """Its time begins anew, but counts from when the first history began; unless that is begun anew, too."""
    if started.timeout_ms is None:
        return None
    own_ms = started.timeout_ms - max(0, (forked_at_ms or 0) - began_ms)
    return own_ms if now_ms is None else own_ms + now_ms - began_ms


def _kept(origin: History, cut: Cut) -> list[CopiedTurn] | None:
    kept: list[CopiedTurn] = []
    for turn in origin.turns:
        for index, record in enumerate(turn.records):
            is_last = cut(record)
            if is_last is not None:
                last = turn.records[: index + is_last]
                return [*kept, CopiedTurn(turn.at_ms, last)] if last else kept
        kept.append(CopiedTurn(turn.at_ms, turn.records))
    return None


def _check(kept: Sequence[CopiedTurn], run: str, replace: Mapping[str, Raw]) -> None:
    records = [record for one in kept for record in one.records]
    for record in records:
        if isinstance(record, r.ChildScheduled | r.AwakeableCreated):
            what = "children" if isinstance(record, r.ChildScheduled) else "awakeables"
            raise RefusedError(f"run {run!r} had {what} by then, which are its own; fork it at an earlier step")
    ended = _ended(records)
    if unknown := sorted(set(replace) - set(ended)):
        missing = f"no outcome to replace in the copied part of run {run!r}: {', '.join(unknown)}"
        raise RefusedError(f"{missing}; give {_one_of(ended)}")


def _ended(records: Iterable[r.Record]) -> list[str]:
    """The keys of the steps that have an outcome."""
    return [one.step for one in records if isinstance(one, r.StepCompleted | r.StepFailed)]


def _one_of(steps: Sequence[str]) -> str:
    if not steps:
        return "another run: none of its steps has an outcome"
    more = f" (and {len(steps) - _NAMED_MAX} more)" if len(steps) > _NAMED_MAX else ""
    return f"one of {', '.join(steps[:_NAMED_MAX])}{more}"


def _replaced(record: r.Record, replace: Mapping[str, Raw]) -> r.Record:
    if isinstance(record, r.StepCompleted | r.StepFailed) and record.step in replace:
        return r.StepCompleted(record.step, replace[record.step], record.attempt, by="fork")
    if isinstance(record, r.Claimed):
        return r.Claimed(record.cause)  # Those who died had the origin.
    if isinstance(record, r.Continued) and record.children:
        return msgspec.structs.replace(record, children=())  # They are the origin's.
    return record


async def copied(door: Door, subject: str, run: str, plan: Copy, *, new_append_id: Callable[[], str]) -> r.RunStarted:
    """Append what is missing of the copy, and return its first record: what the start has to say.

    Waits as long as it takes while the server is away.

    Raises:
        ConflictError: Another history begins under this id.
        UnavailableError: The server was not reached at the beginning.
    """
    while True:
        try:
            history = await _stored(door, subject, run)
        except RunNotFoundError as error:
            raise ConflictError(f"run {run!r} was retired; its id is free again later; choose another") from error
        if history is None:
            journal = Journal(door, subject, owner=_NOBODY, new_append_id=new_append_id, tail=Tail())
            started, done = started_in(plan), 0
        else:
            started, done = _same(history, plan, run), sum(len(one.records) for one in history.turns)
            journal = Journal(door, subject, owner=_NOBODY, new_append_id=new_append_id, tail=history.tail)
        try:
            for turn in _after(plan, done):
                await journal.append(turn.records, epoch=COPIED_EPOCH, lease=0, cursor=0, at_ms=turn.at_ms)
            return started
        except Displaced as displaced:
            if displaced.tail is None:
                removed = f"what was copied as run {run!r} was removed, as another run has that id, or it was retired"
                raise ConflictError(f"{removed}; choose another id") from displaced
            # Somebody copies the same, or not: look again.


def is_start_of(started: r.RunStarted, plan: Copy) -> bool:
    """Whether a start that is stored is that of this copy: then the fork runs, or has run, and may have continued."""
    return _head(started) == _head(started_in(plan))


async def is_copied_for(started: r.RunStarted, door: Door, subjects: Subjects, run: str) -> bool:
    """Whether the history that was copied under this id is that of the fork with this start.

    Also if it does not say whose it is: then it is damaged, and nobody may take it for another one's.

    Raises:
        SealedError: It can't be opened here.
        UnavailableError: The server was not reached.
    """
    if started.origin is None:
        return False
    first = await door.next(subjects.log(run), after=0)
    turn = readable(first)
    if turn is None:
        return True
    check_open(turn, run)
    return all(_head(one) == _head(started) for one in turn.records if isinstance(one, r.RunStarted))


def started_in(plan: Sequence[CopiedTurn]) -> r.RunStarted:
    """Return what the fork is started with."""
    return next(record for record in plan[0].records if isinstance(record, r.RunStarted))


def _same(history: History, plan: Copy, run: str) -> r.RunStarted:
    """Return the start that is stored, if it is that of this copy."""
    if is_start_of(history.started, plan):
        return history.started
    raise ConflictError(f"run {run!r} exists with another history; choose another id")


def _head(started: r.RunStarted) -> tuple[str | None, int, str]:
    return started.origin, started.origin_records, started.origin_hash


def _after(plan: Copy, done: int) -> list[CopiedTurn]:
    """What is left of the plan after so many records."""
    left: list[CopiedTurn] = []
    for turn in plan:
        if done < len(turn.records):
            left.append(CopiedTurn(turn.at_ms, turn.records[done:]))
        done = max(0, done - len(turn.records))
    return left
