"""`relight worker`."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from relight.cli.output import Output
from relight.cli.verb import Edge, verb

if TYPE_CHECKING:
    from relight.config.settings import Settings
    from relight.sdk._workflow import Workflow

__all__ = ("fix_hash_seed", "with_fixed_hash_seed", "worker")

_HASH_SEED = "PYTHONHASHSEED"
_CLEAN_UP_S = 1.0

Target = Annotated[str, typer.Argument(metavar="APP", help="app.py, package.module, or either with :name.")]
Queues = Annotated[
    list[str] | None, typer.Option("--queue", help="Take runs of this queue; may be repeated. Else the workflows' own.")
]
Concurrency = Annotated[
    int | None, typer.Option("--concurrency", min=1, help="Runs it advances at a time; else RELIGHT_CONCURRENCY.")
]


@verb("worker")
def worker(
    edge: Edge,
    app: Target,
    queue: Queues = None,
    concurrency: Concurrency = None,
    is_in_dev: Annotated[bool, typer.Option("--in-dev", hidden=True)] = False,
) -> None:
    """Run an application's workflows; SIGTERM drains."""
    fix_hash_seed()
    from relight.cli.loading import load_workflows
    from relight.cli.logging import configure_logging

    settings = edge.place.settings
    configure_logging(level=settings.log_level, format=_format(edge, settings), stream=sys.stdout)
    if is_in_dev:
        _stop_with_standard_input()
    # Before there is a loop: a module may run one of its own while it is imported.
    workflows = load_workflows(app)
    _runner()(_work(edge, workflows, queue, concurrency, is_in_dev=is_in_dev))


async def _work(
    edge: Edge,
    workflows: list[Workflow[..., Any]],
    queues: list[str] | None,
    concurrency: int | None,
    *,
    is_in_dev: bool,
) -> None:
    from relight.cli.logging import redact_logging
    from relight.sdk._worker import Worker

    async with edge.place.client() as relight:
        worker = Worker(relight, workflows, queues=queues or None, concurrency=concurrency)
        redact_logging(worker.redact)
        if is_in_dev:
            _print_workflows(edge.output, workflows)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, _leave)  # The worker has handlers of its own while it works.
        await worker.run()
    await _leave_stubborn_steps()


async def _leave_stubborn_steps() -> None:
    """End here and now if a step does not heed its cancellation: its run has been handed over."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for one in others:
        one.cancel()
    _, stubborn = await asyncio.wait(others, timeout=_CLEAN_UP_S) if others else (others, others)
    if stubborn:
        _leave()


def _leave(*_signal: object) -> None:
    with suppress(RuntimeError):  # It was about to be written to when the signal came.
        sys.stdout.flush()
    os._exit(0)


def _runner() -> Callable[[Coroutine[Any, Any, None]], None]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run
    return uvloop.run


def fix_hash_seed() -> None:
    """Start this very process anew with a fixed seed, if it has none: the order of a set is the same in each worker."""
    environment = with_fixed_hash_seed(os.environ)
    if environment != dict(os.environ):
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], environment)


def with_fixed_hash_seed(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment with a seed of hashes that is a number."""
    if environment.get(_HASH_SEED) in (None, "", "random"):
        return {**environment, _HASH_SEED: "0"}
    return dict(environment)


def _format(edge: Edge, settings: Settings) -> Any:
    return "json" if edge.output.is_json else settings.log_format


def _stop_with_standard_input() -> None:
    """Stop when `relight dev` is gone, however it went: its end of the pipe closes."""

    def wait() -> None:
        # Not through `sys.stdin`: the interpreter can't end while a thread waits inside that.
        while os.read(0, 1024):
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="relight-dev", daemon=True).start()


def _print_workflows(output: Output, workflows: list[Workflow[..., Any]]) -> None:
    from relight.cli.invocation import example

    for one in workflows:
        if output.is_json:
            output.json({"workflow": one.name, "queue": one.queue, "start": example(one)})
        else:
            output.line(("  start  ", "dim"), (example(one), "bold"))
