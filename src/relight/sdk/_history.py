"""A recorded history apart from any server: in memory, and as a file of JSON lines, one record a line."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, TypeAlias

import msgspec

from relight.errors import RefusedError
from relight.sdk._run import Record, StoredRecord
from relight.subjects import records as r
from relight.subjects.codec import UNREADABLE, encode
from relight.subjects.envelope import check_sealed
from relight.subjects.turn import VERSION

__all__ = ("History", "Moment", "history_of", "read_history", "without_traceback", "written")

_Failed: TypeAlias = r.StepFailed | r.StepAttemptFailed | r.RunFailed


class Moment(NamedTuple):
    """A record, and the time at which the code saw it."""

    at_ms: int
    record: r.Record


class History(NamedTuple):
    """A run's history from its first record on, and the run's id, from which tokens derive."""

    run: str
    moments: tuple[Moment, ...]

    @property
    def started(self) -> r.RunStarted:
        """What the run was started or continued with.

        Raises:
            RefusedError: It is none of a whole history.
        """
        first = self.moments[0].record if self.moments else None
        if isinstance(first, r.RunStarted):
            return first
        started = (one.record for one in self.moments if isinstance(one.record, r.RunStarted))
        if not isinstance(first, r.Continued) or (found := next(started, None)) is None:
            raise RefusedError("this is no whole history: it does not begin with RunStarted")
        return found


class _Head(msgspec.Struct, frozen=True):
    v: int
    run: str


_head: msgspec.json.Decoder[_Head] = msgspec.json.Decoder(_Head)
_moment: msgspec.json.Decoder[Moment] = msgspec.json.Decoder(Moment)


def history_of(records: Iterable[Record]) -> History:
    """Return the history that `Run.history` has given record by record.

    Raises:
        RefusedError: Something else is among them, or there are none.
        SealedError: What users put in could not be opened where it was read: the code would leave the placeholders.
    """
    stored: list[StoredRecord] = []
    for one in records:
        if not isinstance(one, StoredRecord):
            raise RefusedError(f"{one!r} is no record; pass what run.history() gives")
        check_sealed(one.sealed, one.run_id)
        stored.append(one)
    if not stored:
        raise RefusedError("a history without records can't be replayed")
    openings = [number for number, one in enumerate(stored) if isinstance(one.data, r.Continued)]
    stored = stored[openings[-1] :] if openings else stored
    moments = (Moment(round(one.at.timestamp() * 1000), one.data) for one in stored)
    return History(stored[0].run_id, tuple(moments))


def read_history(file: Path) -> History:
    """Read a file that `written` made.

    Raises:
        OSError: It can't be read.
        RefusedError: It is no such file, or of a later version of Relight.
    """
    head, *lines = file.read_bytes().splitlines() or [b""]
    try:
        of = _head.decode(head)
        moments = tuple(_moment.decode(line) for line in lines)
    except UNREADABLE as error:
        raise RefusedError(f"{file} is no recorded history: {error}") from error
    if of.v != VERSION:
        raise RefusedError(f"{file} is of protocol version {of.v}; this version of Relight reads {VERSION}; upgrade it")
    return History(of.run, moments)


def written(history: History) -> bytes:
    """Return the history as lines of JSON, without tracebacks, which name paths of this machine."""
    lines = [encode(_Head(VERSION, history.run))]
    lines += [encode(one._replace(record=without_traceback(one.record))) for one in history.moments]
    return b"".join(line + b"\n" for line in lines)


def without_traceback(record: r.Record) -> r.Record:
    if isinstance(record, _Failed):
        return msgspec.structs.replace(record, error=msgspec.structs.replace(record.error, traceback=""))
    return record
