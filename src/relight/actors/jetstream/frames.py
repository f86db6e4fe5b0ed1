"""Cuts the byte stream of a NATS connection into frames, without a task, a header parse or an object per message."""

from __future__ import annotations

from collections.abc import Callable
from typing import final

from relight.errors import ProtocolError

__all__ = ("FrameReader", "OnControl", "OnMessage")

OnMessage = Callable[[bytes, bytes, bytes, bytes, bytes | None], None]
"""Called with subscription id, subject, reply, data, raw headers. Without a reply it is empty; without headers None."""

OnControl = Callable[[bytes], None]
"""Called with any other line of the protocol, without its end."""

_CRLF = b"\r\n"
_MSG = ord("M")
_HMSG = ord("H")


@final
class FrameReader:
    """Takes bytes as they come and calls back for each complete frame, in order."""

    def __init__(self, on_message: OnMessage, on_control: OnControl) -> None:
        self._on_message = on_message
        self._on_control = on_control
        self._chunks: list[bytes] = []
        self._size = 0
        self._needed = 0

    def feed(self, data: bytes) -> None:
        """Take the next bytes.

        Raises:
            ProtocolError: They are not what a NATS server says; the connection is of no use any more.
        """
        if self._chunks:
            # A payload that comes in many pieces is joined once, when it is complete.
            self._chunks.append(data)
            self._size += len(data)
            if self._size < self._needed:
                return
            data = b"".join(self._chunks)
            self._chunks = []
        rest = self._cut(data)
        if rest < len(data):
            self._chunks = [data[rest:]]
            self._size = len(data) - rest

    def _cut(self, data: bytes) -> int:
        """Call back for each complete frame and return where the incomplete one begins."""
        position, end = 0, len(data)
        find, on_message = data.find, self._on_message
        self._needed = 0
        while (line_end := find(_CRLF, position)) >= 0:
            kind, start = data[position], line_end + 2
            if kind == _MSG:
                parts = data[position + 4 : line_end].split()
                stop = start + int(parts[-1])
                if stop + 2 > end:
                    self._needed = stop + 2 - position
                    break
                reply = parts[2] if len(parts) == 4 else b""
                on_message(parts[1], parts[0], reply, data[start:stop], None)
                position = stop + 2
            elif kind == _HMSG:
                parts = data[position + 5 : line_end].split()
                stop = start + int(parts[-1])
                if stop + 2 > end:
                    self._needed = stop + 2 - position
                    break
                body = start + int(parts[-2])
                reply = parts[2] if len(parts) == 5 else b""
                on_message(parts[1], parts[0], reply, data[body:stop], data[start:body])
                position = stop + 2
            else:
                self._on_control(data[position:line_end])
                position = start
        self._check_line(end - position)
        return position

    def _check_line(self, size: int) -> None:
        if not self._needed and size > 1024 * 1024:
            raise ProtocolError(f"a line of the NATS protocol is longer than {size} bytes")
