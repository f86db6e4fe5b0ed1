"""A payment provider: it books a charge, then takes its time to answer. Run by the demo in a process of its own."""

from __future__ import annotations

import threading
import time
from email.message import Message
from typing import Any

from examples.demo.json_server import serve

__all__ = ("Provider",)

ANSWER_S = 0.15
"""Between the booking and the answer. A worker that is killed here has paid and does not know it."""


class Provider:
    """Books each idempotency key once. A request without a key is a new charge each time."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reset()

    def _reset(self) -> None:
        self._charge_by_key: dict[str, str] = {}
        self._charges_by_order: dict[str, list[str]] = {}
        self._requests = 0
        self._absorbed = 0
        self._charges = 0

    def answer(self, path: str, body: dict[str, Any], headers: Message) -> object:
        if path == "/totals":
            return self.totals()
        if path == "/reset":
            self._reset()
        if path != "/charges":
            return {"done": True}  # Confirmations and refunds; the demo counts charges only.
        with self._lock:
            charge = self._book(str(body["order"]), headers.get("Idempotency-Key"))
        time.sleep(ANSWER_S)
        return {"charge": charge}

    def _book(self, order: str, key: str | None) -> str:
        self._requests += 1
        if key is not None and key in self._charge_by_key:
            self._absorbed += 1
            return self._charge_by_key[key]
        self._charges += 1
        charge = f"ch_{self._charges}"
        self._charges_by_order.setdefault(order, []).append(charge)
        if key is not None:
            self._charge_by_key[key] = charge
        return charge

    def totals(self) -> dict[str, object]:
        with self._lock:
            twice = {order: list(charges) for order, charges in self._charges_by_order.items() if len(charges) > 1}
            return {
                "requests": self._requests,
                "repeats_absorbed": self._absorbed,
                "charges": self._charges,
                "charged_twice": twice,
            }


if __name__ == "__main__":
    serve(Provider().answer)
