"""To whom a message went, from the traces of the servers that passed it on."""

from __future__ import annotations

import json
from itertools import permutations
from typing import Any

from relight.actors.jetstream.everyone import Reach

_WORKER = "relight-worker/{}/main"


def trace(*names: str, way: str = "", hops: int = 0, error: str = "", cut: str = "") -> bytes:
    """What a server says whom a message has reached this way: it passed it on to these clients, and `hops` servers."""
    events: list[dict[str, Any]] = [{"type": "in", "kind": 0, "name": "asker"}]
    events += [{"type": "eg", "kind": 0, "name": name, **({"error": error} if error else {})} for name in names]
    events += [{"type": "eg", "kind": 1, "name": f"node-{hop}", "hop": str(hop)} for hop in range(1, hops + 1)]
    events += [{"type": "eg", "kind": 1, "name": "gone", "error": cut}] if cut else []
    header = {"Nats-Trace-Dest": ["inbox.trace"], **({"Nats-Trace-Hop": [way]} if way else {})}
    return json.dumps({"server": {}, "request": {"header": header, "msgsize": 83}, "events": events}).encode()


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
    others = trace(_WORKER.format("b"), way="1"), trace(_WORKER.format("c"), way="2")

    assert [reach(first, *others[:count]).is_known for count in range(3)] == [False, False, True]
    assert len(reach(first, *others).names) == 3


def test_in_whatever_order_they_tell_all_is_known_when_the_last_one_has_told() -> None:
    told = [
        trace(_WORKER.format("a"), hops=2),
        trace(_WORKER.format("b"), way="1", hops=2),
        trace(_WORKER.format("c"), way="2"),
        trace(_WORKER.format("d"), way="1.1"),
        trace(_WORKER.format("e"), way="1.2", hops=1),
        trace(_WORKER.format("f"), way="1.2.1"),
    ]
    for order in permutations(told):
        found = [reach(*order[:count]) for count in range(7)]

        assert [one.is_known for one in found] == [False] * 6 + [True]
        assert len(found[-1].names) == 6


def test_gateways_may_be_told_with_one_number() -> None:
    # As newer servers do, and name it only at the first of them.
    first = {"type": "eg", "kind": 2, "name": "cluster-b", "hop": "1"}, {"type": "eg", "kind": 2, "name": "cluster-c"}
    told = json.dumps({"events": first}).encode()
    others = trace(_WORKER.format("b"), way="1"), trace(_WORKER.format("c"), way="1")

    assert [reach(*others[:count], told).is_known for count in range(3)] == [False, False, True]


def test_behind_a_server_that_was_not_reached_or_does_not_trace_nothing_is_known() -> None:
    assert not reach(trace(_WORKER.format("a"), cut="remote does not support message tracing")).is_known
    assert not reach(trace(hops=1, cut="client is closed"), trace(way="1")).is_known


def test_a_client_whom_the_server_could_not_reach_need_not_answer() -> None:
    assert reach(trace(_WORKER.format("a"), error="Client closed")).names == set()
