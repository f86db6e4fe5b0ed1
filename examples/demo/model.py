"""A scripted model: it thinks for three seconds about a large order, and finds it risky. Run by the demo."""

from __future__ import annotations

import time
from email.message import Message
from typing import Any

from examples.demo.json_server import serve

__all__ = ("LARGE_CENTS", "THINKS_S", "answer")

LARGE_CENTS = 100_000
THINKS_S = 3.0


def answer(path: str, body: dict[str, Any], headers: Message) -> object:
    is_large = int(body["cents"]) > LARGE_CENTS
    time.sleep(THINKS_S if is_large else 0.1)
    return {"risk": 0.87 if is_large else 0.02}


if __name__ == "__main__":
    serve(answer)
