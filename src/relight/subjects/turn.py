"""A turn: the one journal message that an owner appends, chained to the message before it."""

from __future__ import annotations

from hashlib import sha256

from msgspec import Struct

from relight.subjects.records import Continued, Milliseconds, Record

__all__ = ("COPIED_EPOCH", "GENESIS", "VERSION", "Tombstone", "Turn", "hash_of", "opens_history")

VERSION = 1

GENESIS = ""
"""`previous` of a run's first turn."""

COPIED_EPOCH = 0
"""Of turns that no worker has written."""


class Turn(Struct, frozen=True, omit_defaults=True, tag="turn", tag_field="type"):
    """One atomic append.

    Attributes:
        v: Protocol version.
        number: From 1, without gaps.
        append: Id of this append, unique for ever: who does not know whether it was written looks for it in the tail.
        owner: The worker that wrote it; empty if a client copied it.
        epoch: Grows with each change of owner; two turns of one epoch have one owner. 0: copied, never owned.
        lease: Stream sequence of the delivery under which the owner works.
        cursor: Stream sequence of the last mailbox message consumed.
        at_ms: The time for this turn's code, milliseconds since 1970; never less than the turn before.
        previous: `hash_of` the journal message before it.
        family: It ends a run that has a parent, or children that have not ended: they are told before the lease is let
            go.
        values: It ends a run that may have values stored apart: they are removed when it is retired.
        sealed: The whole message, sealed; the rest of it is what stays readable (`subjects.envelope`).
        records: In order: each fact followed by the requests it led to.
    """

    v: int
    number: int
    append: str
    owner: str
    epoch: int
    lease: int
    at_ms: Milliseconds
    previous: str
    records: tuple[Record, ...]
    cursor: int = 0
    family: bool = False
    values: bool = False
    sealed: str = ""


class Tombstone(Struct, frozen=True, omit_defaults=True, tag="retired", tag_field="type"):
    """What is left of a retired run until its id is free again."""

    v: int
    number: int
    retired_at_ms: Milliseconds
    previous: str


def opens_history(turn: Turn) -> bool:
    """Whether nothing that was recorded before this turn matters any more."""
    return type(turn.records[0]) is Continued


def hash_of(message: bytes) -> str:
    """Return the hash by which the next turn names this journal message: 128 bits of SHA-256, in hex."""
    return sha256(message).hexdigest()[:32]
