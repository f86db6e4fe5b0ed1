"""Makes the streams and consumers that are missing, migrates what can be, and refuses the rest."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import final

import msgspec

from relight.actors.jetstream.api import NO_CONSUMER, NO_STREAM, Api, ApiError
from relight.actors.jetstream.streams import (
    Config,
    Kind,
    check_consumer,
    check_stream,
    consumer_config,
    keys_config,
    shards_of,
    stream_config,
    stream_name,
    stream_of,
    values_config,
)
from relight.config.limits import LIMITS, Limits
from relight.errors import IncompatibleStreamError, InvalidValueError, UnavailableError

__all__ = ("Topology", "is_apart")

_ALREADY_THERE = (10058, 10148, 10105)
_OVERLAP = 10065
_IMPOSSIBLE = (10052, 10074)
_CONSUMER_S = 30.0
_AGAIN_S = 0.1


class _Info(msgspec.Struct):
    config: Config


class _State(msgspec.Struct):
    last_seq: int


class _Sequences(msgspec.Struct):
    state: _State


@final
class Topology:
    """The streams of one namespace. Made by `Topology.open`."""

    def __init__(self, api: Api, namespace: str, shards: int, limits: Limits = LIMITS, *, replicas: int = 1) -> None:
        self._api = api
        self._namespace = namespace
        self._limits = limits
        self._replicas = replicas
        self._apart = (values_config(namespace, replicas), keys_config(namespace, replicas))
        self._made: set[str] = set()
        self.shards = shards
        self.streams = tuple(stream_name(namespace, shard) for shard in range(shards))

    @classmethod
    async def open(
        cls, api: Api, namespace: str, *, shards: int | None = None, replicas: int = 1, limits: Limits = LIMITS
    ) -> Topology:
        """Find or make the streams of a namespace. Idempotent, and safe when several do it at once.

        Args:
            api: The way to JetStream.
            namespace: Whose streams.
            shards: Over how many streams the slots are spread; None: over as many as there are, one if there is none.
            replicas: Of each stream, at least. What is missing gets as many as the first stream has, if these are more:
                who was not told of them must not weaken what others rely on.
            limits: The bounds that consumers get.

        Raises:
            IncompatibleStreamError: A stream exists with settings that Relight can't work with. It was left as it is.
            UnavailableError: No answer in time, or the server can't make a stream now.
            InvalidValueError: `shards` is not 1 to 64.
        """
        if shards is not None and not 1 <= shards <= limits.slots:
            raise InvalidValueError("shards", "", f"{shards} is out of range", f"pass 1 to {limits.slots}")
        first = await _found_stream(api, stream_name(namespace, 0))
        if shards is None:
            shards = 1 if first is None else shards_of(namespace, first)
        topology = cls(api, namespace, shards, limits, replicas=max(replicas, _copies(first)))
        for shard in range(shards):
            await topology._ensure_stream(stream_config(namespace, shard, shards, replicas))
        return topology

    def stream_of(self, subject: str) -> str:
        """Return the stream that stores a subject whose slot is known, or what is stored apart."""
        if is_apart(subject):
            return str(self._config_of(subject)["name"])
        shard = stream_of(subject, self.shards)
        assert shard is not None, f"{subject} spans all streams"
        return self.streams[shard]

    def streams_of(self, subject: str) -> tuple[str, ...]:
        """Return the streams that may store what a filter matches."""
        if is_apart(subject):
            return (str(self._config_of(subject)["name"]),)
        shard = stream_of(subject, self.shards)
        return self.streams if shard is None else (self.streams[shard],)

    async def ensure_apart(self, subject: str) -> None:
        """Make the stream of large values or of data keys, if it is missing: only who uses it has it.

        Raises like `open`.
        """
        wanted = self._config_of(subject)
        name = str(wanted["name"])
        if name in self._made:
            return
        found = await _found_stream(self._api, name) or await self._made_stream(name, wanted)
        if found is not None and found.get("subjects") != wanted["subjects"]:
            raise IncompatibleStreamError(
                f"stream {name} has other subjects than a bucket of NATS; nothing was changed"
            )
        self._made.add(name)

    def _config_of(self, subject: str) -> Config:
        values, keys = self._apart
        return values if subject.startswith("$O.") else keys

    async def last_sequence(self, stream: str) -> int:
        """Return the sequence of the last message of a stream. Raises `UnavailableError`."""
        return (await self._api.need(f"STREAM.INFO.{stream}", _Sequences)).state.last_seq

    async def ensure_consumer(self, stream: str, kind: Kind, queue: str) -> str:
        """Find or make the consumer of a queue in one stream and return its name.

        Raises:
            IncompatibleStreamError: It exists with settings that Relight can't work with.
            UnavailableError: No answer for 30 s, or the server can't make it for so long.
        """
        wanted = consumer_config(self._namespace, kind, queue, self._limits)
        name = str(wanted["name"])
        found = await self._ensured(stream, name, wanted)
        if found is not None:
            check_consumer(stream, found, wanted)
        return name

    async def _ensured(self, stream: str, name: str, wanted: Config) -> Config | None:
        """Both calls may be repeated: a cluster does not answer for a consumer that has no leader yet."""
        loop = asyncio.get_running_loop()
        give_up_s = loop.time() + _CONSUMER_S
        while True:
            try:
                return await self._found_consumer(stream, name) or await self._made_consumer(stream, name, wanted)
            except UnavailableError:
                if loop.time() > give_up_s:
                    raise
            await asyncio.sleep(_AGAIN_S)

    async def _ensure_stream(self, wanted: Config) -> None:
        name = str(wanted["name"])
        missing = {**wanted, "num_replicas": self._replicas}
        found = await _found_stream(self._api, name) or await self._made_stream(name, missing)
        if found is None:
            return
        migrated = check_stream(found, wanted)
        if migrated is not None:
            await self._refusable(f"STREAM.UPDATE.{name}", migrated)

    async def _made_stream(self, name: str, wanted: Config) -> Config | None:
        """Make it; if somebody else did so meanwhile, return what he made."""
        if await self._refusable(f"STREAM.CREATE.{name}", wanted):
            return None
        return await _found_stream(self._api, name)

    async def _found_consumer(self, stream: str, name: str) -> Config | None:
        try:
            return (await self._api.ask(f"CONSUMER.INFO.{stream}.{name}", _Info)).config
        except ApiError as error:
            if error.code == NO_CONSUMER:
                return None
            raise UnavailableError(str(error)) from error

    async def _made_consumer(self, stream: str, name: str, wanted: Config) -> Config | None:
        request = {"stream_name": stream, "action": "create", "config": wanted}
        if await self._refusable(f"CONSUMER.CREATE.{stream}.{name}.{wanted['filter_subject']}", request):
            return None
        return await self._found_consumer(stream, name)

    async def _refusable(self, call: str, request: Mapping[str, object]) -> bool:
        """Return whether the call was done; False: somebody else has made it."""
        try:
            await self._api.ask(call, _Info, request)
        except ApiError as error:
            if error.code in _ALREADY_THERE:
                return False
            if error.code == _OVERLAP or error.code in _IMPOSSIBLE:
                raise IncompatibleStreamError(f"{error}; nothing was changed") from error
            raise UnavailableError(str(error)) from error
        return True


def is_apart(subject: str) -> bool:
    """Whether the object store or the bucket of data keys has it."""
    return subject.startswith(("$O.", "$KV."))


def _copies(first: Config | None) -> int:
    copies = None if first is None else first.get("num_replicas")
    return copies if isinstance(copies, int) else 1


async def _found_stream(api: Api, name: str) -> Config | None:
    try:
        return (await api.ask(f"STREAM.INFO.{name}", _Info)).config
    except ApiError as error:
        if error.code == NO_STREAM:
            return None
        raise UnavailableError(str(error)) from error
