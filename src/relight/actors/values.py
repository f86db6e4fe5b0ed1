"""Values that are too large for a record: kept in a NATS object store of the namespace, under run and digest.

The layout is that of NATS object stores (ADR-20), so that `nats object ls` and `nats object get` read them: chunks on a
subject of their own, then one message that describes the object. That message comes last and is fenced: an object that
has it is whole, and of two that store the same value at once one finds the other's and removes its own chunks. Each try
writes on a subject of its own, so a chunk that comes late hits nothing.

What is never described, because whoever stored it died, is removed with the run like the rest.
"""

from __future__ import annotations

import asyncio
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Iterable, Mapping
from typing import TypeVar

import msgspec
from msgspec import Raw, Struct

from relight.actors.door import Door
from relight.actors.run.shelf import NOT_FED, Shelf
from relight.config.limits import LIMITS
from relight.errors import FencedError, PayloadTooLargeError, ProtocolError, SealedError, UnavailableError
from relight.subjects import records as r
from relight.subjects.codec import UNREADABLE, encode
from relight.subjects.grammar import Subjects
from relight.subjects.ids import is_token
from relight.subjects.references import (
    Reference,
    digest_of,
    in_place,
    is_reference,
    references_in,
    values_in,
    with_values,
)

__all__ = (
    "copy",
    "digest_beside_loop",
    "fetch",
    "fill",
    "filled",
    "referring",
    "remove_all",
    "store",
    "store_all",
)

T = TypeVar("T")

_CHUNKS_AT_ONCE = 8
_REMOVED_AT_ONCE = 10_000


class _Options(Struct):
    max_chunk_size: int


class _Object(Struct, omit_defaults=True):
    """What describes an object; the names are those of ADR-20."""

    name: str
    bucket: str
    nuid: str
    size: int
    chunks: int
    digest: str
    options: _Options


_object = msgspec.json.Decoder(_Object)


async def digest_beside_loop(value: Raw | bytes | bytearray) -> str:
    """Return the digest of a value; that of a large one is made in a thread, for the loop has leases to renew."""
    if len(value) <= LIMITS.digest_in_loop_bytes_max:
        return digest_of(value)
    return await asyncio.to_thread(digest_of, value)


async def store(door: Door, subjects: Subjects, run: str, digest: str, data: bytes) -> None:
    """Keep a value for a run; when this returns it is stored. A value that is there already is not stored again.

    Raises:
        UnavailableError: It may have been stored in part. Repeat it.
    """
    described = subjects.value(run, digest)
    if await door.last(described) is not None:
        return
    nuid = f"{run}.{digest}.{secrets.token_hex(6)}"
    chunks = subjects.value_chunks(nuid)
    count = 0
    for start in range(0, len(data), LIMITS.value_chunk_bytes):
        await door.publish(chunks, data[start : start + LIMITS.value_chunk_bytes])
        count += 1
    description = _Object(
        name=subjects.value_name(run, digest),
        bucket=subjects.bucket,
        nuid=nuid,
        size=len(data),
        chunks=count,
        digest=f"SHA-256={urlsafe_b64encode(bytes.fromhex(digest)).decode()}",
        options=_Options(LIMITS.value_chunk_bytes),
    )
    try:
        await door.publish(described, encode(description), fence=0)
    except FencedError:
        # Somebody has stored the same meanwhile; or this very message has arrived before.
        stands = await door.last(described)
        if stands is None:
            # The server refuses for one that is under way, too, and that may yet be lost; or it may be this very one.
            raise UnavailableError(f"value {digest} of run {run!r} was refused, and is not stored yet") from None
        if _read(stands.data).nuid != nuid:
            await door.purge(chunks)


async def fetch(door: Door, subjects: Subjects, run: str, reference: Reference) -> bytes | None:
    """Return a value of a run, checked by its digest; None if it is not stored.

    Raises:
        ProtocolError: What is stored is damaged, or described as none of this value.
        UnavailableError: The server was not reached.
    """
    stored = await door.last(subjects.value(run, reference.digest))
    if stored is None:
        return None
    described = _described(stored.data, run, reference.digest)
    chunks = subjects.value_chunks(described.nuid)
    data = bytearray()
    after = 0
    while len(data) < described.size:
        page = await door.read(chunks, after=after, limit=_CHUNKS_AT_ONCE)
        if not page:
            # A replica may lag behind; the leader knows.
            following = await door.next(chunks, after=after)
            if following is None:
                break
            page = [following]
        for one in page:
            data += one.data
        after = page[-1].sequence
    if await digest_beside_loop(data) != reference.digest:
        raise ProtocolError(f"value {reference.digest} of run {run!r} is damaged where it is stored")
    return bytes(data)


async def fill(door: Door, subjects: Subjects, run: str, shelf: Shelf, holders: Iterable[object]) -> None:
    """Put on the shelf what these records or messages refer to; what is missing or damaged shows when it is fed.

    Raises:
        SealedError: One can't be opened here: its data key is not at hand.
        UnavailableError: The server was not reached.
    """
    for holder in holders:
        if isinstance(holder, r.Continued):
            shelf.is_used = True  # What the older histories had is still there.
        for one in references_in(holder):
            shelf.is_used = True
            if type(holder) in NOT_FED:
                continue
            try:
                data = shelf.find(one.digest) or await fetch(door, subjects, run, one)
            except SealedError:
                raise
            except ProtocolError:
                continue  # The code can't go on without it, and the run is parked when it comes to it.
            if data is not None:
                shelf.put(one.digest, data)


def _has_large(holder: object, inline_bytes_max: int) -> bool:
    """Whether a record or message has values that are to be stored apart. Most have none."""
    for one in values_in(holder):  # noqa: SIM110 - a generator costs more than the one value that there is
        if len(one) > inline_bytes_max or is_reference(one):
            return True
    return False


async def referring(holder: T, *, inline_bytes_max: int, bytes_max: int, what: str) -> tuple[T, Mapping[str, bytes]]:
    """Return a record or message of a client as it is sent, and its large values, by digest, to be stored before.

    Raises:
        PayloadTooLargeError: A value is larger than `bytes_max`.
    """
    if not _has_large(holder, inline_bytes_max):
        return holder, {}
    shelf = Shelf(inline_bytes_max)
    digests = {id(one): await digest_beside_loop(one) for one in values_in(holder) if len(one) > inline_bytes_max}
    sent = with_values(holder, lambda value: shelf.kept(value, is_fed=False, digest=digests.get(id(value), "")))
    for data in shelf.pending.values():
        if len(data) > bytes_max:
            raise PayloadTooLargeError(what, size_bytes=len(data), limit_bytes=bytes_max)
    return sent, shelf.pending


async def store_all(door: Door, subjects: Subjects, run: str, values: Mapping[str, bytes]) -> None:
    """Keep values for a run, by digest. Raises `UnavailableError`: not everything was stored. Repeat it."""
    for digest, data in values.items():
        await store(door, subjects, run, digest, data)


async def filled(door: Door, subjects: Subjects, run: str, holder: T) -> T:
    """Return a record with its values in place of references.

    Raises:
        ProtocolError: A value is missing, or damaged.
        UnavailableError: The server was not reached.
    """
    references = references_in(holder)
    if not references:
        return holder
    values: dict[str, Raw] = {}
    for one in references:
        data = await fetch(door, subjects, run, one)
        if data is None:
            raise ProtocolError(f"value {one.digest} of run {run!r} is missing; the run may have been retired")
        values[one.digest] = Raw(data)
    return in_place(holder, values)


async def copy(door: Door, subjects: Subjects, holder: object, *, source: str, target: str) -> bool:
    """Keep what a record of one run refers to for another run as well: it may outlive the first.

    Returns:
        Whether the other run now has all of it.

    Raises:
        ProtocolError: What is stored is damaged.
        UnavailableError: The server was not reached. Repeat it.
    """
    is_whole = True
    for one in references_in(holder):
        data = await fetch(door, subjects, source, one)
        if data is None:
            is_whole = is_whole and await door.last(subjects.value(target, one.digest)) is not None
        else:
            await store(door, subjects, target, one.digest, data)
    return is_whole


async def remove_all(door: Door, subjects: Subjects, run: str) -> None:
    """Remove the values of a run. Repeating it is harmless. Raises `UnavailableError`."""
    every = subjects.value_chunks(f"{run}.*.*")
    while found := await door.subjects(every, limit=_REMOVED_AT_ONCE):
        for digest in {one.split(".")[-2] for one in found}:
            await door.purge(subjects.value(run, digest))
        await door.purge(every)


def _described(data: bytes, run: str, digest: str) -> _Object:
    """Return a description of this very value: whoever believed another one would read the whole bucket into memory."""
    described = _read(data)
    value, _, attempt = described.nuid.rpartition(".")
    if value != f"{run}.{digest}" or not is_token(attempt) or not 0 <= described.size <= LIMITS.value_bytes_max:
        raise ProtocolError(f"unreadable description of value {digest} of run {run!r}: {data[:80]!r}")
    return described


def _read(data: bytes) -> _Object:
    try:
        return _object.decode(data)
    except UNREADABLE as error:
        raise ProtocolError(f"unreadable description of an object ({error}): {data[:80]!r}") from error
