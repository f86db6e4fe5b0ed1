"""A server in memory: what Relight asks of NATS JetStream, on virtual time and with faults at will.

It is a model of one nats-server with one stream, in one asyncio loop. It keeps the promises of `actors/door.py` and no
more: what the real server does to an owner that was too slow, it does too. A token acts on whatever delivery of its
message is pending now, a message that nobody renews is delivered again, a question to a stopped process stays
unanswered.
"""

from relight.testing.memory.door import MemoryDoor
from relight.testing.memory.faults import Faults, Operation, Outcome
from relight.testing.memory.server import MemoryServer

__all__ = ("Faults", "MemoryDoor", "MemoryServer", "Operation", "Outcome")
