"""What the streams and consumers of protocol v1 look like, and whether one that exists will do. Pure.

`discard` is `old` because nats-server refuses schedules on a stream that discards new messages. It never matters: a
stream of ours has no limits, so that nothing is ever discarded; a limit that somebody set is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from relight.config.limits import LIMITS, Limits
from relight.errors import IncompatibleStreamError
from relight.subjects.grammar import Subjects
from relight.subjects.ids import file_name

__all__ = (
    "Config",
    "Kind",
    "check_consumer",
    "check_stream",
    "consumer_config",
    "consumer_name",
    "keys_config",
    "shards_of",
    "stream_config",
    "stream_name",
    "stream_of",
    "subjects_of",
    "values_config",
    "values_stream_name",
)

Config = dict[str, object]
Kind = Literal["start", "wake"]

_PROTOCOL = "relight-protocol"
_PROTOCOL_VERSION = "1"
_SECOND = 1_000_000_000
_DUPLICATE_WINDOW_S = 1
_PULLS_WAITING_MAX = 16_384

_SWITCHES = ("allow_direct", "allow_msg_schedules", "allow_msg_ttl", "allow_rollup_hdrs")
"""Harmless to switch on in a stream that lacks them."""

_UNLIMITED = ("max_msgs", "max_bytes", "max_age", "max_msgs_per_subject", "max_msg_size", "max_consumers")
"""Each of them would lose stored messages, or refuse what the limits allow."""

_OFF = ("mirror", "sources", "subject_transform", "sealed", "no_ack", "deny_purge", "allow_msg_counter")
"""Each of them would break a promise that is built on the stream."""


def stream_name(namespace: str, shard: int) -> str:
    """Return the name of a stream.

    Raises:
        InvalidIdError: nats-server can't name a stream or a file like that.
    """
    return f"RELIGHT_{file_name('namespace', namespace)}_RUN_{shard}"


def values_stream_name(namespace: str) -> str:
    """Return the name of the object store's stream. Raises `InvalidIdError` like `stream_name`."""
    return f"OBJ_RELIGHT_{file_name('namespace', namespace)}"


def values_config(namespace: str, replicas: int) -> Config:
    """Return how the stream of an object store is made, as ADR-20 says."""
    bucket = Subjects(namespace).bucket
    return {
        "name": values_stream_name(namespace),
        "subjects": [f"$O.{bucket}.C.>", f"$O.{bucket}.M.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_consumers": -1,
        "num_replicas": replicas,
        "duplicate_window": _DUPLICATE_WINDOW_S * _SECOND,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "metadata": {_PROTOCOL: _PROTOCOL_VERSION},
    }


def keys_config(namespace: str, replicas: int) -> Config:
    """Return how the stream of the data keys is made: a key-value bucket with one value of each key."""
    subjects = Subjects(namespace)
    return {
        "name": f"KV_RELIGHT_{file_name('namespace', namespace)}_KEYS",
        "subjects": [f"$KV.{subjects.key_bucket}.>"],
        "storage": "file",
        "retention": "limits",
        "discard": "new",
        "max_msgs_per_subject": 1,
        "max_consumers": -1,
        "num_replicas": replicas,
        "duplicate_window": _DUPLICATE_WINDOW_S * _SECOND,
        "allow_rollup_hdrs": True,
        "allow_direct": True,
        "metadata": {_PROTOCOL: _PROTOCOL_VERSION},
    }


def consumer_name(kind: Kind, queue: str) -> str:
    """Return the name of a queue's consumer. Raises `InvalidIdError` like `stream_name`."""
    return f"{kind}-{file_name('queue', queue)}"


def stream_of(subject: str, shards: int) -> int | None:
    """Return the shard that stores a subject or filter; None if it spans all slots."""
    slot = subject.split(".", 4)[3]
    return int(slot) % shards if slot.isdecimal() else None


def subjects_of(namespace: str, shard: int, shards: int) -> tuple[str, ...]:
    """Return what a stream stores: the slots are dealt out round robin."""
    subjects = Subjects(namespace)
    if shards == 1:
        return subjects.of_every_slot()
    return tuple(one for slot in range(shard, LIMITS.slots, shards) for one in subjects.of_slot(slot))


def shards_of(namespace: str, first_stream: Config) -> int:
    """Return over how many streams the slots are spread, judged by what the first one stores.

    Raises:
        IncompatibleStreamError: It stores something else.
    """
    found = set(_strings(first_stream.get("subjects")))
    for shards in range(1, LIMITS.slots + 1):
        if found == set(subjects_of(namespace, 0, shards)):
            return shards
    raise _incompatible(stream_name(namespace, 0), "subjects", sorted(found), "the subjects of Relight")


def stream_config(namespace: str, shard: int, shards: int, replicas: int) -> Config:
    """Return how a missing stream is made."""
    return {
        "name": stream_name(namespace, shard),
        "subjects": list(subjects_of(namespace, shard, shards)),
        "storage": "file",
        "retention": "limits",
        "discard": "old",
        "max_consumers": -1,
        "num_replicas": replicas,
        # Relight needs no deduplication; the window costs memory per message id.
        "duplicate_window": _DUPLICATE_WINDOW_S * _SECOND,
        "metadata": {_PROTOCOL: _PROTOCOL_VERSION},
        **dict.fromkeys(_SWITCHES, True),
    }


def check_stream(found: Config, wanted: Config) -> Config | None:
    """Return the configuration to which a stream must be updated, None if it will do as it is.

    Raises:
        IncompatibleStreamError: It has a setting that Relight can't work with.
    """
    name = str(wanted["name"])
    if sorted(_strings(found.get("subjects"))) != sorted(_strings(wanted["subjects"])):
        raise _incompatible(name, "subjects", found.get("subjects"), wanted["subjects"])
    for setting in ("storage", "retention", "discard"):
        _require(name, setting, found.get(setting), wanted[setting])
    for setting in _UNLIMITED:
        if found.get(setting) not in (None, 0, -1):
            raise _incompatible(name, setting, found.get(setting), "unlimited")
    for setting in _OFF:
        if found.get(setting):
            raise _incompatible(name, setting, found.get(setting), "off")
    _require(name, "persist_mode", found.get("persist_mode") or "default", "default")
    _check_replicas(name, found.get("num_replicas"), wanted["num_replicas"])
    return _migrated(name, found, wanted)


def _migrated(name: str, found: Config, wanted: Config) -> Config | None:
    metadata = _mapping(found.get("metadata"))
    protocol = metadata.get(_PROTOCOL)
    if protocol is not None:
        _require(name, f"metadata {_PROTOCOL}", protocol, _PROTOCOL_VERSION)
    if protocol is not None and all(found.get(switch) for switch in _SWITCHES):
        return None
    return {
        **found,
        **{switch: wanted[switch] for switch in _SWITCHES},
        "metadata": {**metadata, _PROTOCOL: _PROTOCOL_VERSION},
    }


def consumer_config(namespace: str, kind: Kind, queue: str, limits: Limits) -> Config:
    """Return how a missing consumer is made: one filter, so that the server walks one subject tree."""
    subjects = Subjects(namespace)
    name = consumer_name(kind, queue)
    return {
        "name": name,
        "durable_name": name,
        "filter_subject": subjects.starts_of_queue(queue) if kind == "start" else subjects.wakes_of_queue(queue),
        "deliver_policy": "all",
        "ack_policy": "explicit",
        "ack_wait": round(limits.ack_wait_s * _SECOND),
        "max_ack_pending": -1,
        "max_deliver": -1,
        "max_waiting": _PULLS_WAITING_MAX,
    }


def check_consumer(stream: str, found: Config, wanted: Config) -> None:
    """Make sure that a consumer will do.

    Raises:
        IncompatibleStreamError: It has a setting that Relight can't work with.
    """
    name = f"consumer {wanted['name']} of {stream}"
    for setting in ("filter_subject", "deliver_policy", "ack_policy", "ack_wait", "max_ack_pending", "max_deliver"):
        _require(name, setting, found.get(setting), wanted[setting])
    for setting in ("deliver_subject", "backoff", "priority_policy", "headers_only"):
        if found.get(setting) not in (None, "", False, [], "none"):
            raise _incompatible(name, setting, found.get(setting), "off")


def _check_replicas(name: str, found: object, wanted: object) -> None:
    # More than asked for is what an operator did by hand, and only safer.
    if isinstance(found, int) and isinstance(wanted, int) and found < wanted:
        raise _incompatible(name, "num_replicas", found, f"at least {wanted}")


def _require(name: str, setting: str, found: object, wanted: object) -> None:
    if found != wanted:
        raise _incompatible(name, setting, found, wanted)


def _incompatible(name: str, setting: str, found: object, wanted: object) -> IncompatibleStreamError:
    return IncompatibleStreamError(
        f"{name} exists with {setting} = {_short(found)}; Relight needs {_short(wanted)}; it was left as it is: "
        "change it, or use another namespace"
    )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _strings(value: object) -> Sequence[str]:
    return [str(one) for one in value] if isinstance(value, list) else []  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]  # JSON


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}  # pyright: ignore[reportUnknownVariableType]  # JSON
