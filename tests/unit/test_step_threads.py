"""The threads of plain steps: what they are refused never runs, and their end blocks nobody."""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Any

import pytest
from structlog.testing import capture_logs

from relight.sdk._threads import StepThreads


class Changing(SimpleQueue[Any]):
    """As if somebody took the last one between two lines."""

    def empty(self) -> bool:
        return False


@pytest.mark.timeout(20)
def test_a_thread_that_takes_the_last_work_while_they_are_shut_down_blocks_nobody() -> None:
    threads = StepThreads(1)
    threads._work = Changing()  # pyright: ignore[reportPrivateUsage]

    threads.shutdown()

    with pytest.raises(RuntimeError, match="begin nothing more"):
        threads.submit(int)


def test_a_call_for_which_there_is_no_thread_is_refused_and_never_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, ran = StepThreads(1), list[str]()

    def refuses(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuses)
        with pytest.raises(RuntimeError, match="can't start"):
            threads.submit(ran.append, "refused")
    threads.submit(ran.append, "taken").result(20)
    threads.shutdown()

    assert ran == ["taken"]


def test_a_call_for_which_there_is_no_further_thread_waits_for_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    threads, gate = StepThreads(2), threading.Event()
    first = threads.submit(gate.wait, 20)

    def refuses(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", refuses)
        second = threads.submit(int, "2")
    gate.set()

    assert (first.result(20), second.result(20)) == (True, 2)
    threads.shutdown()


def test_for_calls_that_hang_and_nobody_waits_for_others_stand_in_until_they_end() -> None:
    threads, gate = StepThreads(2), threading.Event()
    with capture_logs() as lines:
        hung = [threads.submit(gate.wait, 20) for _ in range(2)]
        waits = threads.submit(int, "1")
        assert _all_run(hung)

        assert [one.cancel() for one in hung] == [False, False]
        assert [one.cancel() for one in hung] == [False, False]
        assert waits.result(20) == 1
        assert [threads.submit(int, "2").result(20) for _ in range(5)] == [2] * 5

    assert [(line["event"], line["threads"]) for line in lines] == [
        ("step_thread_given_up", 1),
        ("step_thread_given_up", 2),
    ]
    gate.set()
    assert [one.result(20) for one in hung] == [True, True]
    while threads._threads > 2:  # pyright: ignore[reportPrivateUsage]
        threads.submit(int, "3").result(20)
    threads.shutdown()


def _all_run(calls: list[Future[Any]]) -> bool:
    while not all(one.running() for one in calls):
        time.sleep(0.001)
    return True
