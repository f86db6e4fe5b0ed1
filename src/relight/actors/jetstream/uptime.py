"""How long a server has been up: shortly after it has begun, silence says nothing of who was connected before.

No server tells an ordinary account when it began. But it lists the account's connections, also those that have ended,
and none of them is older than the server. Workers that were killed are among them, so who restarts the only one of a
server that runs for long sees that it does. A server to which nobody was connected passes for a young one: then who
begins waits in vain.

Of several servers the one counts that is up for longest: this is about the end of all of them.
"""

from __future__ import annotations

import asyncio
from datetime import datetime
from typing import NamedTuple

import msgspec

from relight.actors.jetstream.connection import Connection

__all__ = ("NO_OUTAGE", "Outage", "Uptime", "uptime")

_SUBJECT = "$SYS.REQ.ACCOUNT.PING.CONNZ"
_THE_OLDEST = b'{"state":2,"limit":1}'  # Open and closed, in the order in which they began.
_ANSWER_S = 0.25
"""What has not come by then does not come: the user may not ask, or it is another of several servers."""


class Uptime(NamedTuple):
    """How long a server has been up at least, and since when, by its own clock."""

    seconds: float
    since_ms: int


class Outage(NamedTuple):
    """Whoever was connected before `before_ms`, and no longer is, may be on the way back for `returning_s` more."""

    before_ms: int
    returning_s: float


NO_OUTAGE = Outage(0, 0.0)


class _Connection(msgspec.Struct):
    start: datetime


class _Connections(msgspec.Struct):
    now: datetime
    connections: list[_Connection] = []


class _Answer(msgspec.Struct):
    data: _Connections


_decoder = msgspec.json.Decoder(_Answer)


async def uptime(connection: Connection, *, enough_s: float) -> Uptime | None:
    """Return how long the server has been up; if that can't be known, None. Of several, the first with `enough_s`."""
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    inbox = connection.new_inbox()
    listening = connection.listen(inbox, lambda _subject, _reply, data, _headers: answers.put_nowait(data))
    longest: Uptime | None = None
    try:
        async with asyncio.timeout(_ANSWER_S):
            connection.send(_SUBJECT, _THE_OLDEST, reply=inbox)
            while longest is None or (connection.is_spread and longest.seconds < enough_s):
                longest = max(filter(None, (longest, _uptime_in(await answers.get()))), default=None)
    except TimeoutError:
        pass
    finally:
        await listening.close()
    return longest


def _uptime_in(answer: bytes) -> Uptime | None:
    try:
        told = _decoder.decode(answer).data
    except msgspec.MsgspecError:
        return None
    if not told.connections:
        return None
    start = told.connections[0].start
    return Uptime((told.now - start).total_seconds(), int(start.timestamp() * 1000))
