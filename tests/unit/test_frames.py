"""Cutting the byte stream of a NATS connection into frames."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from relight.actors.jetstream.frames import FrameReader

_STREAM = (
    b'INFO {"a":1}\r\n'
    b"MSG a.b 1 5\r\nhe\r\no\r\n"
    b"MSG a.b 12 reply.to 0\r\n\r\n"
    b"PING\r\n"
    b"HMSG a.b 2 30 32\r\nNATS/1.0\r\nKey: value value\r\n\r\nhi\r\n"
    b"HMSG in.1 2 r.t 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"
    b"+OK\r\n"
)


@given(cuts=st.lists(st.integers(0, len(_STREAM)), max_size=12))
def test_frames_are_the_same_wherever_the_stream_is_cut(cuts: list[int]) -> None:
    assert _frames(cuts) == [
        b'INFO {"a":1}',
        (b"1", b"a.b", b"", b"he\r\no", None),
        (b"12", b"a.b", b"reply.to", b"", None),
        b"PING",
        (b"2", b"a.b", b"", b"hi", b"NATS/1.0\r\nKey: value value\r\n\r\n"),
        (b"2", b"in.1", b"r.t", b"", b"NATS/1.0 503\r\n\r\n"),
        b"+OK",
    ]


def _frames(cuts: list[int]) -> list[object]:
    seen: list[object] = []

    def receive(sid: bytes, subject: bytes, reply: bytes, data: bytes, headers: bytes | None) -> None:
        seen.append((sid, subject, reply, data, headers))

    reader = FrameReader(receive, seen.append)
    borders = [0, *sorted(cuts), len(_STREAM)]
    for start, stop in pairwise(borders):
        reader.feed(_STREAM[start:stop])
    return seen
