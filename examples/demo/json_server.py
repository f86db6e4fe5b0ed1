"""The smallest HTTP server that the demo's services need: JSON in, JSON out, one thread for each connection."""

from __future__ import annotations

import json
import os
import sys
import threading
from collections.abc import Callable
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeAlias

__all__ = ("Answer", "exit_with_parent", "serve")

Answer: TypeAlias = Callable[[str, dict[str, Any], Message], object]
"""From path, body and headers to the answer's body."""


def serve(answer: Answer) -> None:
    """Serve on a free port of the loopback, say its address on standard output, and go on while the parent lives."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            data = json.dumps(answer(self.path, json.loads(body or b"{}"), self.headers)).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: object) -> None:
            """The demo speaks for itself."""

    server = _Server(("127.0.0.1", 0), Handler)
    print(json.dumps({"ready": f"http://127.0.0.1:{server.server_port}"}), flush=True)
    exit_with_parent()
    server.serve_forever()


def exit_with_parent() -> None:
    """End this process when its parent's end of standard input is closed, which no death of the parent can prevent."""

    def wait() -> None:
        sys.stdin.buffer.read()
        os._exit(0)

    threading.Thread(target=wait, daemon=True).start()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """A caller that was killed in the middle of a request is what this demo is about."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # socketserver's own loose types
