"""Whatever reaches outside a workflow is refused with the name of the call that the user wrote."""

from __future__ import annotations

import asyncio
import concurrent.futures
import signal
import threading
from collections.abc import Callable
from typing import Any

import anyio
import anyio.to_process
import anyio.to_thread
import pytest

from relight.errors import NotDurableError
from relight.sdk._loop import RunLoop


def ignore(*_: object) -> None:
    """The report of a timer."""


def new_loop() -> RunLoop:
    return RunLoop(arm=ignore, disarm=ignore, callbacks_max=1_000)


def error_of(code: Callable[[], Any]) -> BaseException | None:
    loop = new_loop()

    async def workflow() -> None:
        await code()

    task = loop.create_task(workflow())
    loop.run_until_blocked()
    return first_of(task.exception())


def first_of(error: Any) -> BaseException | None:
    return first_of(error.exceptions[0]) if hasattr(error, "exceptions") else error


async def open_a_signal_receiver() -> None:
    with anyio.open_signal_receiver(signal.SIGTERM):
        pass


async def nap() -> None:
    await asyncio.to_thread(ignore)


CALLS: list[tuple[str, Callable[[], Any]]] = [
    ("asyncio.to_thread", lambda: asyncio.to_thread(ignore)),
    ("asyncio.to_thread", lambda: asyncio.gather(asyncio.to_thread(ignore))),
    ("asyncio.to_thread", lambda: asyncio.create_task(nap())),
    ("loop.run_in_executor", lambda: asyncio.get_running_loop().run_in_executor(None, ignore)),
    ("asyncio.open_connection", lambda: asyncio.open_connection("127.0.0.1", 1)),
    ("asyncio.start_server", lambda: asyncio.start_server(ignore, "127.0.0.1", 0)),
    ("asyncio.create_subprocess_exec", lambda: asyncio.create_subprocess_exec("true")),
    ("asyncio.create_subprocess_shell", lambda: asyncio.create_subprocess_shell("true")),
    ("loop.getaddrinfo", lambda: asyncio.get_running_loop().getaddrinfo("localhost", 1)),
    ("loop.add_signal_handler", lambda: asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ignore)),
    ("loop.add_reader", lambda: asyncio.get_running_loop().add_reader(0, ignore)),
    ("loop.set_task_factory", lambda: asyncio.get_running_loop().set_task_factory(None)),
    ("loop.set_exception_handler", lambda: asyncio.get_running_loop().set_exception_handler(None)),
    ("loop.call_soon_threadsafe", lambda: asyncio.get_running_loop().call_soon_threadsafe(ignore)),
    ("anyio.to_thread.run_sync", lambda: anyio.to_thread.run_sync(ignore)),
    ("anyio.to_process.run_sync", lambda: anyio.to_process.run_sync(ignore)),
    ("anyio.open_file", lambda: anyio.open_file("/dev/null")),
    ("anyio.run_process", lambda: anyio.run_process("true")),
    ("anyio.connect_tcp", lambda: anyio.connect_tcp("127.0.0.1", 1)),
    ("anyio.connect_tcp", lambda: anyio.connect_tcp("localhost", 1)),
    ("anyio.getaddrinfo", lambda: anyio.getaddrinfo("localhost", 1)),
]


async def start_in_any_order() -> None:
    for one in asyncio.as_completed([nap(), nap(), nap()]):
        await one


@pytest.mark.filterwarnings("error")
def test_coroutines_that_asyncio_would_start_in_the_order_of_their_addresses_are_refused() -> None:
    error = error_of(start_in_any_order)

    assert isinstance(error, NotDurableError)
    assert error.call == "asyncio.as_completed of bare coroutines"


@pytest.mark.parametrize(("name", "code"), CALLS)
def test_a_call_that_can_not_be_replayed_is_refused_by_its_name_and_a_remedy(
    name: str, code: Callable[[], Any]
) -> None:
    threads = threading.active_count()

    error = error_of(code)

    assert isinstance(error, NotDurableError)
    assert error.call == name
    assert "; " in str(error)
    assert threading.active_count() == threads


def test_a_signal_receiver_is_refused() -> None:
    assert isinstance(error_of(open_a_signal_receiver), NotDurableError)


def test_a_future_that_a_thread_completes_is_refused_in_that_thread() -> None:
    loop, source = new_loop(), concurrent.futures.Future[int]()
    errors: list[BaseException] = []

    def complete() -> None:
        try:
            loop.call_soon_threadsafe(source.set_result, 1)
        except NotDurableError as error:
            errors.append(error)

    thread = threading.Thread(target=complete)
    thread.start()
    thread.join()

    assert [str(error) for error in errors] == [
        "loop.call_soon_threadsafe can't be replayed in a workflow; "
        "run the thread in a @step, or send a signal to the run"
    ]


PURE = {
    "call_at",
    "call_exception_handler",
    "call_later",
    "call_soon",
    "close",
    "create_future",
    "create_task",
    "default_exception_handler",
    "get_debug",
    "get_exception_handler",
    "get_task_factory",
    "is_closed",
    "is_running",
    "set_debug",
    "shutdown_asyncgens",
    "shutdown_default_executor",
    "time",
}


@pytest.mark.parametrize("method", sorted(name for name in vars(asyncio.AbstractEventLoop) if name[0] != "_"))
def test_every_method_of_a_loop_is_either_pure_or_refused(method: str) -> None:
    if method in PURE:
        return

    with pytest.raises(NotDurableError, match=f"loop.{method}"):
        getattr(new_loop(), method)(ignore)
