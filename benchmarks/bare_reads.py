"""The floor of a read of history: the same messages by bare nats-py, which checks and replays nothing."""

from __future__ import annotations

import asyncio
import json
import time

import nats
from nats.aio.msg import Msg

__all__ = ("read_ms",)


async def read_ms(url: str, subject: str, count: int) -> float:
    """Return the milliseconds in which the first `count` messages of a subject are read, by one request."""
    client = await nats.connect(url)
    stream = await client.jetstream().find_stream_name_by_subject(subject)
    request = json.dumps({"seq": 1, "next_by_subj": subject, "batch": count}).encode()
    messages: list[Msg] = []
    ended = asyncio.get_running_loop().create_future()

    async def on_message(message: Msg) -> None:
        if "Nats-Sequence" in (message.headers or {}):
            messages.append(message)
        else:
            ended.set_result(None)

    inbox = client.new_inbox()
    await client.subscribe(inbox, cb=on_message)
    began = time.perf_counter()
    await client.publish(f"$JS.API.DIRECT.GET.{stream}", request, reply=inbox)
    await ended
    took_s = time.perf_counter() - began
    await client.close()
    assert len(messages) == count, "they are there"
    return took_s * 1e3
