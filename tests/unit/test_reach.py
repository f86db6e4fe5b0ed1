"""To whom a message went, from the traces of the servers that passed it on."""

from __future__ import annotations

import json
from typing import Any

from relight.actors.jetstream.everyone import Reach

_WORKER = "relight-worker/{}/main"


def trace(*names: str, hops: int = 0, error: str = "") -> bytes:
    """What a server says: it passed a message on to these clients, and to `hops` other servers."""
    events: list[dict[str, Any]] = [{"type": "in", "kind": 0, "name": "asker"}]
    events += [{"type": "eg", "kind": 0, "name": name, **({"error": error} if error else {})} for name in names]
    events += [{"type": "eg", "kind": 1, "name": f"node-{hop}", "hop": str(hop)} for hop in range(hops)]
    return json.dumps({"server": {}, "events": events, **({"hops": hops} if hops else {})}).encode()


def reach(*traces: bytes) -> Reach:
    reach = Reach()
    for one in traces:
        reach.note(one)
    return reach


def test_nothing_is_known_before_the_first_trace() -> None:
    assert not reach().is_known


def test_only_workers_count() -> None:
    found = reach(trace(_WORKER.format("a"), "nats-cli", "relight-client"))

    assert (found.is_known, found.names) == (True, {_WORKER.format("a")})


def test_the_other_servers_are_waited_for() -> None:
    first = trace(_WORKER.format("a"), hops=2)
    others = trace(_WORKER.format("b")), trace(_WORKER.format("c"))

    assert [reach(first, *others[:count]).is_known for count in range(3)] == [False, False, True]
    assert len(reach(first, *others).names) == 3


def test_their_order_does_not_matter_and_servers_may_pass_it_on_further() -> None:
    found = reach(trace(_WORKER.format("c")), trace(_WORKER.format("b"), hops=1), trace(hops=1))

    assert (found.is_known, len(found.names)) == (True, 2)


def test_a_client_whom_the_server_could_not_reach_need_not_answer() -> None:
    assert reach(trace(_WORKER.format("a"), error="Client closed")).names == set()
