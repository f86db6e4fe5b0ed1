"""The door of a process with codecs: what users put in is sealed before it leaves, and opened before anyone reads it.

The start decides. A run whose start was sealed is sealed throughout, by the same codecs and under the same data key;
one whose start was not stays as it is. So runs of both kinds work side by side, and each message says what it needs.

A data key is wrapped by the provider and stored on a subject of its own before the start that names it. Whoever removes
it makes the run unreadable, while its chain still holds: the chain is over what is stored.

What can't be opened here, because a codec or a key is missing, is handed on as it is stored: nobody drives a run from
it. What was changed is handed on as nothing: no reader takes that for a message. Whatever a key provider raises says
nothing of what is stored: it is asked again.
"""

from __future__ import annotations

import hmac
import os
from base64 import b64decode, b64encode, urlsafe_b64decode
from collections import OrderedDict
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Literal, NamedTuple, final

import msgspec
import structlog
from msgspec.structs import replace

from relight.actors.codecs import Codec, DamagedError, Encryption, KeyProvider, WrappedKey, Zstd
from relight.actors.door import Consumption, Delivery, Door, KeyDestroyedError, Stored
from relight.config.limits import LIMITS
from relight.errors import FencedError, ProtocolError, RefusedError, SealedError, UnavailableError
from relight.subjects.codec import UNREADABLE, decode_start, decode_stored_wake, decode_turn, decode_wake, encode
from relight.subjects.envelope import earlier_envelope_of, envelope_of, header_in, sealed_wake
from relight.subjects.grammar import RETIRED, Subjects
from relight.subjects.messages import ChildOver, ParentOver, Sealed, Start
from relight.subjects.turn import Tombstone, Turn

__all__ = ("SealingDoor", "with_codecs")

log = structlog.get_logger("relight")

_SEALED_WAKE = b'{"kind":"Sealed"'
_SEALED_VALUE = b"relight.sealed:"
_NO_KEY = "-"
_NOBODY = f"-:{_NO_KEY}:"
"""Of a message to a run that does not exist (any more): nobody can open it."""
_KEYS_KEPT = 10_000
_KEY_KEPT_S = 300.0
"""After this long a process looks again whether a data key was destroyed."""
_SEAL_KEPT_S = LIMITS.tombstone_s / 2
"""How a run is sealed is remembered for less time than its id stays taken after its retirement: what is remembered
never counts for another run of this id. And, if there is one, no longer than its data key."""
_TOKEN_BYTES = 8
_DATA_KEY_BYTES = 32


class _Seal(NamedTuple):
    """How one run is sealed."""

    codecs: tuple[str, ...]
    key_name: str
    key: bytes

    @property
    def header(self) -> str:
        return f"{'+'.join(self.codecs)}:{self.key_name}"


class _StoredKey(msgspec.Struct):
    key: str
    wrapped: bytes


_stored_key = msgspec.json.Decoder(_StoredKey)


class _Closed(Exception):
    """It can't be opened here. It says why."""

    error = SealedError


class _Destroyed(_Closed):
    """Its data key is gone: nobody can."""

    error = KeyDestroyedError


def with_codecs(door: Door, subjects: Subjects, codecs: Sequence[Codec]) -> Door:
    """Return a door that seals and opens by these codecs; without any the door itself.

    Raises:
        RefusedError: The name of one can't stand in what it seals. Nobody could open that.
    """
    for one in codecs:
        if ":" in one.name or "+" in one.name:
            raise RefusedError(f"{one.name!r} is no name for a codec; take one without ':' and '+'")
    return SealingDoor(door, subjects, codecs) if codecs else door


@final
class SealingDoor:
    """See `Door`. What is sealed is said at the top."""

    def __init__(self, door: Door, subjects: Subjects, codecs: Sequence[Codec]) -> None:
        self.clock = door.clock
        self.seal: SealingDoor | None = self
        self._door = door
        self._subjects = subjects
        self._written_by = tuple(one.name for one in codecs)
        self._codecs: dict[str, Codec] = {**_without_settings(), **{one.name: one for one in codecs}}
        self._provider = next((one.keys for one in codecs if isinstance(one, Encryption)), None)
        self._seals: OrderedDict[str, tuple[_Seal | None, float]] = OrderedDict()
        self._new: OrderedDict[str, tuple[_Seal, float]] = OrderedDict()
        self._keys: OrderedDict[tuple[str, str], tuple[bytes, float]] = OrderedDict()
        self._has_keys = False
        # What goes through as it is.
        self.schedule = door.schedule
        self.entomb = door.entomb
        self.remove = door.remove
        self.latest = door.latest
        self.newest = door.newest
        self.count = door.count
        self.subjects = door.subjects
        self.watch = door.watch
        self.watch_reconnects = door.watch_reconnects
        self.watch_gaps = door.watch_gaps
        self.ack = door.ack
        self.nak = door.nak
        self.hold = door.hold
        self.release = door.release
        self.ask = door.ask
        self.ask_every_worker = door.ask_every_worker
        self.answer = door.answer
        self.answer_every_worker = door.answer_every_worker

    @property
    def is_spread(self) -> bool:
        """See `Door.is_spread`."""
        return self._door.is_spread

    @property
    def payload_bytes_max(self) -> int:
        """See `Door.payload_bytes_max`."""
        return self._door.payload_bytes_max

    # Writing.

    async def publish(
        self, subject: str, data: bytes, *, fence: int | None = None, fence_subject: str | None = None
    ) -> int:
        """See `Door.publish`. Journal messages are sealed by `sealed` before: their chain is over what is stored."""
        kind, run = _place_of(subject)
        if kind == "start":
            return await self._publish_start(subject, run, data, fence, fence_subject)
        if kind == "wake":
            data = await self._sealed_wake(run, data)
        elif kind == "value" and (seal := await self._seal_of(run)) is not None:
            subject = _addressed(self._subjects, subject, seal)
            data = _SEALED_VALUE + seal.header.encode() + b":" + self._encoded(seal, run, kind, data)
        return await self._door.publish(subject, data, fence=fence, fence_subject=fence_subject)

    async def sealed(self, subject: str, data: bytes) -> bytes:
        """Return a turn as it is stored. Raises `SealedError`, `UnavailableError`."""
        kind, run = _place_of(subject)
        seal = await self._seal_of(run)
        turn = decode_turn(data)
        if seal is None or isinstance(turn, Tombstone):
            return data
        return encode(replace(envelope_of(turn), sealed=self._text(seal, run, kind, data)))

    async def purge(self, subject: str, *, below: int | None = None) -> None:
        """See `Door.purge`."""
        kind, run = _place_of(subject)
        if kind == "value" and not _is_addressed(subject):
            seal = await self._seal_of(run)
            subject = subject if seal is None else _addressed(self._subjects, subject, seal)
        await self._door.purge(subject, below=below)

    def notify(self, subject: str, data: bytes = b"") -> None:
        """See `Door.notify`: who hears it reads what is stored."""
        self._door.notify(subject)

    async def _publish_start(
        self, subject: str, run: str, data: bytes, fence: int | None, fence_subject: str | None
    ) -> int:
        start = decode_start(data)
        # A fork's history is stored by now, and says under which key.
        seal = self._made(run) or (await self._seal_of(run) if start.run.origin is not None else None)
        seal = seal or await self._make(run)
        stored = encode(replace(envelope_of(start), sealed=self._text(seal, run, "start", data)))
        try:
            sequence = await self._door.publish(subject, stored, fence=fence, fence_subject=fence_subject)
        except FencedError:
            if start.run.origin is None:
                await self._destroy_unused(run, seal)
            self._new.pop(run, None)
            self._seals.pop(run, None)
            raise
        self._new.pop(run, None)
        self._remember(run, seal)
        return sequence

    async def _sealed_wake(self, run: str, data: bytes) -> bytes:
        wake = decode_wake(data)
        if envelope_of(wake) is wake:
            return data
        try:
            seal = await self._found(run)
        except KeyDestroyedError:
            if not isinstance(wake, ChildOver | ParentOver):
                raise
            seal = _UNKNOWN  # Its family does not wait until somebody can read what it is told.
        if seal is None:
            return data
        return encode(sealed_wake(wake, _NOBODY if seal == _UNKNOWN else self._text(seal, run, "wake", data)))

    def _text(self, seal: _Seal, run: str, kind: str, data: bytes) -> str:
        return f"{seal.header}:{b64encode(self._encoded(seal, run, kind, data)).decode()}"

    def _encoded(self, seal: _Seal, run: str, kind: str, data: bytes) -> bytes:
        place = self._place(seal.header, run, kind)
        for name in seal.codecs:
            data = self._codecs[name].encode(data, key=seal.key, place=place)
        return data

    def _place(self, header: str, run: str, kind: str) -> bytes:
        return "\0".join((self._subjects.namespace, run, kind, header)).encode()

    # Reading.

    async def last(self, subject: str) -> Stored | None:
        """See `Door.last`."""
        kind, run = _place_of(subject)
        if kind == "value" and not _is_addressed(subject):
            # Who stores or reads a value looks here first; of a run that somebody else has started it learns so here.
            seal = self._seals[run][0] if self._is_known(run) else await self._found(run)
            if seal == _UNKNOWN:
                return None
            subject = subject if seal is None else _addressed(self._subjects, subject, seal)
        return await self._opened(await self._door.last(subject))

    async def last_of_each(self, subjects: Sequence[str]) -> list[Stored | None]:
        """See `Door.last_of_each`."""
        return [await self._opened(one) for one in await self._door.last_of_each(subjects)]

    async def next(self, subject: str, *, after: int) -> Stored | None:
        """See `Door.next`."""
        return await self._opened(await self._door.next(await self._value_subject(subject), after=after))

    async def read(self, subject: str, *, after: int, limit: int) -> list[Stored]:
        """See `Door.read`."""
        page = await self._door.read(await self._value_subject(subject), after=after, limit=limit)
        opened = [await self._opened(one) for one in page]
        return [one for one in opened if one is not None]

    async def consume(
        self, kind: Literal["start", "wake"], queue: str, receive: Callable[[Delivery], None], *, places: int
    ) -> Consumption:
        """See `Door.consume`. A sealed message stays so: where it is asked for it travels further."""

        def take(delivery: Delivery) -> None:
            # Without its fence it is read, and opened, from the mailbox.
            receive(replace(delivery, fence=None) if delivery.data.startswith(_SEALED_WAKE) else delivery)

        return await self._door.consume(kind, queue, take, places=places)

    async def opened(self, subject: str, data: bytes) -> bytes:
        """Return what was sealed, as it was before; as it is stored if it can't be opened here.

        Nothing is returned of what was changed, and of a mailbox message that nobody can open for its run: it would
        hold up all that come after it. Raises `UnavailableError`, and `SealedError` for a large value.
        """
        kind, run = _place_of(subject)
        try:
            sealed = _sealed_in(kind, subject, data)
            return data if sealed is None else await self._opened_text(run, kind, data, sealed)
        except _Closed as why:
            log.warning("sealed", run=run, reason=str(why))
            if kind == "value":  # Handed on as it is it would be taken for damaged.
                raise why.error(f"run {run!r} is sealed: {why}") from None
            return b"" if kind == "wake" and await self._is_lost(run, data, why) else data
        except (DamagedError, ProtocolError, ValueError) as error:
            log.error("sealed_message_damaged", subject=subject, error=str(error))
            return b""

    async def _opened(self, stored: Stored | None) -> Stored | None:
        if stored is None:
            return None
        data = await self.opened(stored.subject, stored.data)
        return stored if data is stored.data else replace(stored, data=data, raw=stored.data)

    async def _opened_text(self, run: str, kind: str, data: bytes, sealed: str | bytes) -> bytes:
        codecs, key_name, body = _parts_of(sealed)
        if kind == "wake":
            self._check_codecs(run, codecs)
        seal = await self._seal_named(run, codecs, key_name)
        place = self._place(seal.header, run, kind)
        for name in reversed(seal.codecs):
            body = self._codecs[name].decode(body, key=seal.key, place=place)
        _check_envelope(kind, data, body)
        if kind in ("start", "log"):
            self._remember(run, seal)
        return body

    def _check_codecs(self, run: str, codecs: tuple[str, ...]) -> None:
        """Refuse what was not sealed as its run is, if that is known: what needs no key anybody may have sealed."""
        seal, until_s = self._seals.get(run, (None, 0.0))
        if until_s > self.clock.elapsed_s() and codecs != (() if seal is None else seal.codecs):
            raise _Closed(f"its run is not sealed by {'+'.join(codecs)}")

    async def _value_subject(self, subject: str) -> str:
        kind, run = _place_of(subject)
        if kind != "value" or (seal := await self._seal_of(run)) is None:
            return subject
        return _addressed(self._subjects, subject, seal)

    async def _is_lost(self, run: str, data: bytes, why: _Closed) -> bool:
        """Whether nobody can open it for this run: its key is gone, or it is for an earlier run of this id."""
        if isinstance(why, _Destroyed):
            return True
        wake, own = decode_stored_wake(data), await self._sealed_start(run)
        assert isinstance(wake, Sealed), "that was to be opened"
        return own is not None and (not own or header_in(own) != header_in(wake.sealed))

    # Data keys.

    async def _seal_of(self, run: str) -> _Seal | None:
        """How a run is sealed; one that does not exist yet is given a data key."""
        if self._is_known(run):
            return self._seals[run][0]
        seal = self._made(run) or await self._found(run)
        return await self._make(run) if seal == _UNKNOWN else seal

    async def _found(self, run: str) -> _Seal | None:
        """How a run is sealed, as what is stored says, or will be when it is; None: it is not.

        Raises `SealedError`, `UnavailableError`.
        """
        sealed = await self._sealed_start(run)
        if sealed is None:
            return self._made(run) or _UNKNOWN
        try:
            seal = await self._seal_named(run, *header_in(sealed)) if sealed else None
        except _Closed as why:
            raise why.error(f"run {run!r} is sealed: {why}") from None
        self._remember(run, seal)
        return seal

    async def _sealed_start(self, run: str) -> str | None:
        """What the start of a run has in `sealed`, or its history if there is no start yet; None: there is neither."""
        stored = await self._door.last(self._subjects.start_any_queue(run))
        if stored is not None and stored.subject.split(".")[4] != RETIRED:
            return decode_start(stored.data).sealed
        stored = await self._door.last(self._subjects.log(run))
        turn = None if stored is None else decode_turn(stored.data)
        return turn.sealed if isinstance(turn, Turn) else None

    async def _seal_named(self, run: str, codecs: tuple[str, ...], key_name: str) -> _Seal:
        if missing := [one for one in codecs if one not in self._codecs]:
            raise _Closed(f"there is no codec {', '.join(missing)} here")
        key = b"" if key_name == _NO_KEY else await self._key(run, key_name)
        return _Seal(codecs, key_name, key)

    async def _key(self, run: str, name: str) -> bytes:
        if (known := self._known_key(run, name)) is not None:
            return known
        if self._provider is None:
            raise _Closed("there are no encryption keys here")
        stored = await self._door.last(self._subjects.key(run, name))
        if stored is None or not stored.data:  # Empty is what the tools for buckets leave of a key that was deleted.
            raise _Destroyed(f"its data key {name} was destroyed")
        try:
            found = _stored_key.decode(stored.data)
        except UNREADABLE as error:
            raise _Closed(f"its data key {name} is damaged") from error
        key = await _unwrapped(self._provider, WrappedKey(found.key, found.wrapped), run)
        self._keep_key(run, name, key)
        return key

    async def _make(self, run: str) -> _Seal:
        """Give a run a data key; when this returns it is stored."""
        name, key = _NO_KEY, b""
        if self._provider is not None:
            name, key = os.urandom(_TOKEN_BYTES).hex(), os.urandom(_DATA_KEY_BYTES)
            wrapped = await self._provider.wrap(key, run=run)
            if not self._has_keys:
                await self._door.last(self._subjects.key(run, name))  # Whoever looks has the bucket made.
                self._has_keys = True
            await self._door.publish(self._subjects.key(run, name), encode(_StoredKey(wrapped.key_id, wrapped.data)))
            self._keep_key(run, name, key)
        if (made := self._made(run)) is not None:
            return made  # Meanwhile, for another start of this id: what both store is to be found by either.
        seal = _Seal(self._written_by, name, key)
        self._new[run] = (seal, self.clock.elapsed_s() + _SEAL_KEPT_S)
        _trim(self._new)
        return seal

    def _made(self, run: str) -> _Seal | None:
        """The seal that was made here for a run whose start is not stored, as far as is known here."""
        made = self._new.get(run)
        return made[0] if made is not None and made[1] > self.clock.elapsed_s() else None

    async def _destroy_unused(self, run: str, seal: _Seal) -> None:
        """Destroy the data key of a start that was refused, unless it was an earlier try of this very start."""
        if seal.key_name == _NO_KEY:
            return
        sealed = await self._sealed_start(run)
        if sealed is not None and (not sealed or header_in(sealed)[1] != seal.key_name):
            await self._door.purge(self._subjects.key(run, seal.key_name))

    def _is_known(self, run: str) -> bool:
        seal, until_s = self._seals.get(run, (None, 0.0))
        if until_s <= self.clock.elapsed_s():
            return False
        return seal is None or seal.key_name == _NO_KEY or self._known_key(run, seal.key_name) is not None

    def _known_key(self, run: str, name: str) -> bytes | None:
        key, until_s = self._keys.get((run, name), (None, 0.0))
        return key if until_s > self.clock.elapsed_s() else None

    def _remember(self, run: str, seal: _Seal | None) -> None:
        self._seals.pop(run, None)  # It is the newest now.
        self._seals[run] = (seal, self.clock.elapsed_s() + _SEAL_KEPT_S)
        _trim(self._seals)

    def _keep_key(self, run: str, name: str, key: bytes) -> None:
        self._keys[run, name] = (key, self.clock.elapsed_s() + _KEY_KEPT_S)
        _trim(self._keys)


_UNKNOWN = _Seal((), "", b"")
"""Of a run of which nothing is stored."""


async def _unwrapped(provider: KeyProvider, wrapped: WrappedKey, run: str) -> bytes:
    try:
        key = await provider.unwrap(wrapped, run=run)
        if len(key) != _DATA_KEY_BYTES:
            raise ValueError(f"its answer has {len(key)} bytes")
    except LookupError as error:
        raise _Closed(str(error)) from error
    except Exception as error:
        # Whatever it is: only what was opened by the right key can be found damaged.
        log.warning("key_provider_failed", run=run, key=wrapped.key_id, error=repr(error))
        raise UnavailableError(f"the data key of run {run!r} was not unwrapped: {error!r}") from error
    return key


def _without_settings() -> dict[str, Codec]:
    """Codecs that anybody can read by, if they are installed: a run goes on by those with which it was started."""
    try:
        return {Zstd.name: Zstd()}
    except RefusedError:
        return {}


def _trim(kept: OrderedDict[Any, Any]) -> None:
    while len(kept) > _KEYS_KEPT:
        kept.popitem(last=False)


def _place_of(subject: str) -> tuple[str, str]:
    """Return of what kind a subject is (empty: of none that is sealed), and the run."""
    match subject.split("."):
        case ["relight", _, "start" | "wake" as kind, _, _, run] | ["relight", _, "log" as kind, _, run]:
            return kind, run
        case ["$O", _, "C", run, _, _]:
            return "value", run
        case ["$O", _, "M", name]:
            return "value", _named(name)[0]
        case _:
            return "", ""


def _named(name: str) -> tuple[str, str]:
    run, _, digest = urlsafe_b64decode(name).decode().rpartition("/")
    return run, digest


def _is_addressed(subject: str) -> bool:
    """Whether it is the address of a sealed value already, or a filter."""
    parts = subject.split(".")
    digest = parts[4] if parts[2] == "C" else _named(parts[3])[1]
    return digest == "*" or digest.startswith("k")


def _addressed(subjects: Subjects, subject: str, seal: _Seal) -> str:
    """Return the address of a value of a sealed run: a digest of the value itself would tell who guesses it."""
    if _is_addressed(subject):
        return subject
    parts = subject.split(".")
    if parts[2] == "C":
        return subjects.value_chunks(f"{parts[3]}.{_hidden(parts[4], seal)}.{parts[5]}")
    run, digest = _named(parts[3])
    return subjects.value(run, _hidden(digest, seal))


def _hidden(digest: str, seal: _Seal) -> str:
    return "k" + hmac.new(seal.key or b"-", digest.encode(), sha256).hexdigest()


def _sealed_in(kind: str, subject: str, data: bytes) -> str | bytes | None:
    if kind == "value":  # A plain one may begin as its user likes.
        return data if _is_addressed(subject) and data.startswith(_SEALED_VALUE) else None
    if kind == "wake":
        wake = decode_stored_wake(data) if data.startswith(_SEALED_WAKE) else None
        return wake.sealed if isinstance(wake, Sealed) else None
    if kind not in ("start", "log") or b'"sealed":"' not in data:
        return None
    message = decode_start(data) if kind == "start" else decode_turn(data)
    return message.sealed or None if isinstance(message, Start | Turn) else None


def _parts_of(sealed: str | bytes) -> tuple[tuple[str, ...], str, bytes]:
    """Return by which codecs it was sealed, the name of its data key, and what the last codec gave."""
    if isinstance(sealed, str):
        return *header_in(sealed), b64decode(sealed.rsplit(":", 1)[1])
    _, written_by, key, body = sealed.split(b":", 3)
    return *header_in(f"{written_by.decode()}:{key.decode()}:"), body


def _check_envelope(kind: str, stored: bytes, opened: bytes) -> None:
    """Refuse a message whose readable part was changed."""
    if kind == "wake":
        sealed, wake = decode_stored_wake(stored), decode_wake(opened)
        assert isinstance(sealed, Sealed), "that was opened"
        is_same = sealed_wake(wake, sealed.sealed) == sealed
    elif kind == "start":
        is_same = _readable(decode_start(stored)) == _readable(envelope_of(decode_start(opened)))
    elif kind == "log":
        is_same = _is_envelope_of(decode_turn(stored), decode_turn(opened))
    else:
        is_same = True
    if not is_same:
        raise DamagedError("its readable part was changed")


def _is_envelope_of(stored: Turn | Tombstone, opened: Turn | Tombstone) -> bool:
    readable = _readable(stored)
    if readable == _readable(envelope_of(opened)):
        return True
    return isinstance(opened, Turn) and readable == _readable(earlier_envelope_of(opened))


def _readable(message: Start | Turn | Tombstone) -> bytes:
    return encode(message if isinstance(message, Tombstone) else replace(message, sealed=""))
