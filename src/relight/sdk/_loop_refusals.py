"""What a workflow's loop refuses: everything that reaches outside and so could not be replayed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Coroutine
from types import FrameType
from typing import Any, Never

from relight.errors import NotDurableError

__all__ = ("PureLoop", "call_as_written", "in_order", "refuse")

_LIBRARIES = frozenset(("anyio", "asyncio"))


def refuse(method: str, remedy: str = "do it in a @step") -> Never:
    """Raise `NotDurableError` naming the call that the user wrote, for example `asyncio.to_thread`.

    Call it directly from the loop's method: whoever called that is looked at.
    """
    raise NotDurableError(call_as_written(method, sys._getframe(2)), remedy)  # pyright: ignore[reportPrivateUsage]


def in_order(coroutine: Coroutine[Any, Any, Any], caller: FrameType) -> Coroutine[Any, Any, Any]:
    """Return the coroutine to make a task of; one that raises `NotDurableError` if replays would start it in any order.

    `asyncio.as_completed` puts bare coroutines into a set, and so starts them in the order of their addresses. All of
    them are replaced, so that none is left over which was never awaited.
    """
    if not caller.f_code.co_name.endswith("ensure_future") or not _is_as_completed(caller):
        return coroutine
    coroutine.close()
    return _fail(
        NotDurableError(
            "asyncio.as_completed of bare coroutines",
            "make them tasks with asyncio.create_task first: it starts coroutines in the order of their addresses",
        )
    )


def _is_as_completed(frame: FrameType | None) -> bool:
    while frame is not None and _module(frame) == "asyncio.tasks":
        if frame.f_code.co_qualname in ("as_completed", "_AsCompletedIterator.__init__"):
            return True
        frame = frame.f_back
    return False


async def _fail(error: NotDurableError) -> Never:
    raise error


def call_as_written(method: str, frame: FrameType | None) -> str:
    """Name the outermost call into `asyncio` or `anyio` that led to this frame; else `loop.<method>`."""
    called = f"loop.{method}"
    while frame is not None and _module(frame).partition(".")[0] in _LIBRARIES:
        if not frame.f_code.co_name.startswith("_"):
            called = _public_name(frame)
        frame = frame.f_back
    return called


def _module(frame: FrameType) -> str:
    return str(frame.f_globals.get("__name__", ""))


def _public_name(frame: FrameType) -> str:
    module, name = _module(frame), frame.f_code.co_qualname.partition(".<locals>")[0]
    package = module.partition(".")[0]
    if hasattr(sys.modules[package], name):
        return f"{package}.{name}"
    return f"{module}.{name}"


def _refused(method: str, remedy: str = "do it in a @step") -> Any:  # It stands in for methods of any signature.
    def refused(*args: object, **kwargs: object) -> Never:
        del args, kwargs
        refuse(method, remedy)

    return refused


class PureLoop(asyncio.AbstractEventLoop):
    """A loop of which every method that does I/O, or hands work to threads or processes, raises `NotDurableError`."""

    __slots__ = ()

    run_forever = _refused("run_forever", "the engine runs it")
    run_until_complete = _refused("run_until_complete", "await it")
    stop = _refused("stop", "return from the workflow")
    set_task_factory = _refused("set_task_factory", "leave its tasks as they are: their order is replayed")

    call_soon_threadsafe = _refused("call_soon_threadsafe", "run the thread in a @step, or send a signal to the run")
    run_in_executor = _refused("run_in_executor")
    set_default_executor = _refused("set_default_executor")

    getaddrinfo = _refused("getaddrinfo")
    getnameinfo = _refused("getnameinfo")
    create_connection = _refused("create_connection")
    create_server = _refused("create_server")
    create_unix_connection = _refused("create_unix_connection")
    create_unix_server = _refused("create_unix_server")
    create_datagram_endpoint = _refused("create_datagram_endpoint")
    connect_accepted_socket = _refused("connect_accepted_socket")
    start_tls = _refused("start_tls")
    sendfile = _refused("sendfile")
    connect_read_pipe = _refused("connect_read_pipe")
    connect_write_pipe = _refused("connect_write_pipe")
    subprocess_shell = _refused("subprocess_shell")
    subprocess_exec = _refused("subprocess_exec")

    add_reader = _refused("add_reader")
    remove_reader = _refused("remove_reader")
    add_writer = _refused("add_writer")
    remove_writer = _refused("remove_writer")
    sock_recv = _refused("sock_recv")
    sock_recv_into = _refused("sock_recv_into")
    sock_recvfrom = _refused("sock_recvfrom")
    sock_recvfrom_into = _refused("sock_recvfrom_into")
    sock_sendall = _refused("sock_sendall")
    sock_sendto = _refused("sock_sendto")
    sock_connect = _refused("sock_connect")
    sock_accept = _refused("sock_accept")
    sock_sendfile = _refused("sock_sendfile")
    add_signal_handler = _refused("add_signal_handler", "wait for a signal of the run")
    remove_signal_handler = _refused("remove_signal_handler", "wait for a signal of the run")
