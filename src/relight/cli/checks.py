"""What `relight doctor` concludes from what it has found, in words. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from relight.actors.jetstream.inspection import ServerSight, StreamSight
from relight.config.limits import LIMITS, MIB

__all__ = ("Check", "Findings", "Verdict", "checks_of", "promise_of")

Verdict = Literal["ok", "warning", "bad"]

_RECOMMENDED = (2, 15)
_SKEW_S_MAX = 1.0
_SHARDS_IN_PRODUCTION = 8
_HEADERS_BYTES = 64 * 1024
_SAFE_REPLICAS = 3


@dataclass(frozen=True)
class Check:
    """One line: what was looked at, how it is, and what to do about it."""

    verdict: Verdict
    topic: str
    text: str
    remedy: str = ""


@dataclass(frozen=True, kw_only=True)
class Findings:
    """What was seen.

    Attributes:
        streams: Of the namespace; empty before the first client or worker made them.
        apart: Of large values and of data keys, as far as there are any.
        queues: For which consumers exist.
        problem: Why a stream or consumer can't be used; empty if all can.
        skew_s: How far the server's clock is ahead; None without a stream to ask.
        servers: What the system account sees of those with JetStream; None without it.
        system_problem: Why a system account that is configured could not be used.
    """

    url: str
    version: tuple[int, int, int]
    payload_bytes_max: int
    namespace: str
    streams: Sequence[StreamSight] = ()
    apart: Sequence[StreamSight] = ()
    queues: Sequence[str] = ()
    problem: str = ""
    skew_s: float | None = None
    servers: Sequence[ServerSight] | None = None
    system_problem: str = ""

    @property
    def replicas(self) -> int | None:
        """Copies of the stream of runs that has the fewest, None without streams."""
        return min(map(_copies, self.streams), default=None)

    @property
    def fewest(self) -> int | None:
        """Copies of what has the fewest, large values and data keys included, None without streams."""
        return min(map(_copies, (*self.streams, *self.apart)), default=None)

    @property
    def is_synced(self) -> bool | None:
        """Whether every server calls fsync before it acknowledges, None if that is not visible."""
        return all(one.sync_always for one in self.servers) if self.servers else None


def checks_of(found: Findings) -> list[Check]:
    """Return the lines about a server that was reached, in the order in which they are read."""
    return [
        Check("ok", "server", f"reached at {found.url}"),
        _version(found),
        Check("ok", "JetStream", "on"),
        _payload(found),
        *_streams(found),
        _consumers(found),
        *_replicas(found),
        _sync(found),
        _skew(found),
        _system(found),
        promise_of(found),
    ]


def promise_of(found: Findings) -> Check:
    """Return what holds with these settings, as `docs/architecture.md` words it."""
    kills = "what was acknowledged survives the kill of any process"
    if found.problem:
        return Check("bad", "promise", "nothing: Relight does not start on these streams")
    if found.fewest is None:
        return Check("ok", "promise", f"{kills}; more can be said once there are streams")
    if found.fewest >= _SAFE_REPLICAS and found.is_synced:
        return Check("ok", "promise", f"{kills}, and the loss of power of all servers at once")
    missing = [] if found.fewest >= _SAFE_REPLICAS else ["3 replicas"]
    if not found.is_synced:
        missing.append("`sync_interval: always`" + (" (not visible here)" if found.is_synced is None else ""))
    text = f"{kills}; not promised: the loss of power of all servers at once, which needs {' and '.join(missing)}"
    return Check("warning", "promise", text, "enough for development" if found.replicas == 1 else "")


def _version(found: Findings) -> Check:
    text = "nats-server " + ".".join(map(str, found.version))
    if found.version[:2] < _RECOMMENDED:
        return Check("warning", "version", text, "works; 2.15 is recommended: what Relight is tested with")
    return Check("ok", "version", text)


def _payload(found: Findings) -> Check:
    needed = LIMITS.turn_bytes_max + _HEADERS_BYTES
    text = f"{found.payload_bytes_max} bytes"
    if found.payload_bytes_max < needed:
        return Check("bad", "max_payload", text, f"turns may be as large as {needed} bytes: set max_payload: {MIB}")
    return Check("ok", "max_payload", text)


def _streams(found: Findings) -> Iterator[Check]:
    if found.problem:
        yield Check("bad", "streams", found.problem)
    elif not found.streams:
        yield Check("ok", "streams", f"none yet for namespace {found.namespace!r}; the first client makes them")
    else:
        shards = len(found.streams)
        text = f"{shards} of namespace {found.namespace!r}, compatible"
        is_cluster = found.replicas is not None and found.replicas > 1
        if is_cluster and shards < _SHARDS_IN_PRODUCTION:
            yield Check(
                "warning",
                "streams",
                text,
                "8 to 16 spread the load over a cluster; chosen when they are made: RELIGHT_SHARDS",
            )
        else:
            yield Check("ok", "streams", text)
    yield from _members(found)


def _members(found: Findings) -> Iterator[Check]:
    for one in (*found.streams, *found.apart):
        behind = [peer.name for peer in one.cluster.replicas if peer.offline or not peer.current]
        if behind:
            yield Check(
                "bad", "replicas", f"{one.config.get('name')} has copies that are away or behind: {', '.join(behind)}",
                "bring those servers back",
            )  # fmt: skip


def _consumers(found: Findings) -> Check:
    if not found.queues:
        return Check("ok", "consumers", "none yet; the first worker of a queue makes them")
    return Check("ok", "consumers", f"for {_listed('queue', found.queues)}")


def _replicas(found: Findings) -> Iterator[Check]:
    if found.replicas is None:
        return
    servers = len(found.servers) if found.servers else None
    name = found.streams[0].cluster.name
    text = f"R{found.replicas}"
    if servers is not None:
        text += f", {servers} servers" if servers > 1 else ", one server"
    text += f", cluster {name!r}" if name else ""
    if servers is not None and servers < found.replicas:
        yield Check("bad", "replicas", f"{text}: fewer servers answer than there are copies", "bring the others back")
    elif found.replicas < _SAFE_REPLICAS:
        remedy = "while the server is away nothing goes on; 3 replicas need a cluster of 3: RELIGHT_REPLICAS=3"
        yield Check("warning", "replicas", text, remedy)
    else:
        yield Check("ok", "replicas", text)
    for one in found.apart:
        if _copies(one) < min(found.replicas, _SAFE_REPLICAS):
            yield _fewer(one, found.replicas)


def _fewer(one: StreamSight, replicas: int) -> Check:
    """What a client made that was not told of the copies, before it followed the streams by itself."""
    name = str(one.config["name"])
    what = "large values" if name.startswith("OBJ_") else "data keys"
    text = f"R{_copies(one)} for {what}, which runs need as much as their streams"
    return Check("warning", "replicas", text, f"nats stream edit {name} --replicas={replicas}")


def _copies(one: StreamSight) -> int:
    copies = one.config.get("num_replicas")
    return copies if isinstance(copies, int) else 1


def _sync(found: Findings) -> Check:
    if not found.servers:
        return Check("warning", "fsync", "not visible without the system account", "set RELIGHT_SYSTEM_URL")
    if found.is_synced:
        return Check("ok", "fsync", "always: before each acknowledgement")
    lazy = max((one.sync_interval_s for one in found.servers if not one.sync_always), default=0.0)
    remedy = "a power loss costs what was not synced; `sync_interval: always` in the server's jetstream block"
    return Check("warning", "fsync", f"every {lazy:g} s", remedy)


def _skew(found: Findings) -> Check:
    if found.skew_s is None:
        return Check("ok", "clock", "not compared: there is no stream yet")
    text = f"{abs(found.skew_s) * 1000:.0f} ms {'behind' if found.skew_s > 0 else 'ahead of'} the server's"
    if abs(found.skew_s) > _SKEW_S_MAX:
        remedy = "Relight goes by the server's clock, but logs and certificates do not: synchronise the clocks"
        return Check("warning", "clock", text, remedy)
    return Check("ok", "clock", text)


def _system(found: Findings) -> Check:
    slow = f"another worker goes on after up to {LIMITS.ack_wait_s:g} s instead of some milliseconds"
    if found.system_problem:
        return Check("bad", "system account", found.system_problem, "correct RELIGHT_SYSTEM_URL")
    if found.servers is None:
        return Check("warning", "system account", f"not given: when a worker dies, {slow}", "set RELIGHT_SYSTEM_URL")
    return Check("ok", "system account", "given: when a worker dies, another one goes on within milliseconds")


def _listed(word: str, names: Sequence[str]) -> str:
    plural = "" if len(names) == 1 else "s"
    shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    return f"{word}{plural} {shown}"
