"""`relight dev`: a local server, and one worker that is started anew when the application's files change.

The worker is a process of its own, so that it always runs the files as they are and a broken one takes nothing with it.
It leads its own process group, so that Ctrl-C reaches this process only, which then ends it in order; and it holds the
other end of a pipe, so that it ends also if this process is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from relight.cli.output import Output
from relight.cli.verb import Edge, verb
from relight.config.limits import LIMITS
from relight.errors import RefusedError

if TYPE_CHECKING:
    from relight.cli.changes import Files
    from relight.config.settings import Settings

__all__ = ("dev",)

_PATIENCE_S = LIMITS.drain_s + 5.0
"""A worker that has not drained by then hangs."""

_RELOAD_PATIENCE_S = 3.0
"""When files change, running steps get this long; they run again in the new worker."""

_RESTART_PAUSE_S = 0.5

Target = Annotated[str, typer.Argument(metavar="APP", help="app.py, package.module, or either with :name.")]


@verb("dev")
async def dev(edge: Edge, app: Target) -> None:
    """Local server and a worker that follows the files."""
    from relight.cli.logging import quiet_logging
    from relight.config.local import LocalServer
    from relight.config.settings import Settings

    if edge.url is not None or edge.credentials is not None:
        raise typer.BadParameter("`relight dev` has a server of its own; to work for another one: `relight worker`")
    settings = Settings.read(namespace=edge.namespace)
    quiet_logging(settings.log_level)
    directory = _watched(app)
    with LocalServer.join(settings.local_directory, sync=settings.sync) as server:
        _greet(edge.output, app, server.url, settings.local_directory)
        await _Development(edge.output, app, settings, directory).run()
    if not edge.output.is_json:
        edge.output.line(("stopped; the data stays in ", "dim"), (str(settings.local_directory), "dim"))


def _watched(app: str) -> Path:
    from relight.cli.loading import source_of

    file = source_of(app)
    if file is None:
        return Path.cwd()
    if not file.is_file():
        raise RefusedError(f"{file} is no file; give the Python file that has the workflows")
    return file.resolve().parent


def _greet(output: Output, app: str, url: str, directory: Path) -> None:
    if output.is_json:
        output.json({"app": app, "url": url, "directory": str(directory)})
        return
    output.pairs(
        [
            ("relight dev", (app, "bold")),
            ("server", f"{url}  (data in {directory})"),
            ("try", "the commands below in another terminal, in this directory; Ctrl-C ends it all"),
        ]
    )


class _Development:
    """One worker process after the other, until a signal comes."""

    def __init__(self, output: Output, app: str, settings: Settings, directory: Path) -> None:
        self._output = output
        self._app = app
        self._settings = settings
        self._directory = directory
        self._stopping = asyncio.Event()
        self._impatient = asyncio.Event()

    async def run(self) -> None:
        from relight.cli.changes import next_change

        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(number, self._on_signal)
        while not self._stopping.is_set():
            # Seen before the worker reads them: a change while it starts must not be missed.
            changes = asyncio.create_task(next_change(self._directory, await asyncio.to_thread(self._seen)))
            try:
                await self._work_until(changes)
            finally:
                changes.cancel()
                await asyncio.wait((changes,))

    def _on_signal(self) -> None:
        if self._stopping.is_set():
            self._impatient.set()
            return
        self._stopping.set()
        self._say(f"stopping: running steps get {LIMITS.drain_s:g} s; Ctrl-C again ends them at once")

    async def _work_until(self, changes: asyncio.Task[str]) -> None:
        worker = await self._started()
        stopping = asyncio.create_task(self._stopping.wait())
        ended = asyncio.create_task(worker.wait())
        try:
            await asyncio.wait((changes, stopping, ended), return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not self._stopping.is_set():
                await self._after_its_end(worker.returncode or 0, changes, stopping)
        finally:
            patience_s = _PATIENCE_S if self._stopping.is_set() else _RELOAD_PATIENCE_S
            await self._end(worker, patience_s)
            stopping.cancel()
            ended.cancel()
        if changes.done() and not self._stopping.is_set():
            self._say(f"{changes.result()} changed; starting anew")

    async def _after_its_end(self, code: int, changes: asyncio.Task[str], stopping: asyncio.Task[bool]) -> None:
        """A worker that was killed, by its watchdog too, is replaced; one that failed would fail again."""
        from relight.actors.watchdog import EXIT_LOOP_BLOCKED

        if code < 0 or code == EXIT_LOOP_BLOCKED:
            how = f"killed ({signal.Signals(-code).name})" if code < 0 else "ended: its loop was blocked"
            self._say(f"the worker was {how}; starting another one")
            await asyncio.wait((stopping,), timeout=_RESTART_PAUSE_S)
            return
        self._say("the worker ended; waiting for a change", "yellow")
        await asyncio.wait((changes, stopping), return_when=asyncio.FIRST_COMPLETED)

    async def _started(self) -> asyncio.subprocess.Process:
        # Without -P the application's directory would come before the standard library while relight itself is loaded.
        words = [sys.executable, "-P", "-m", "relight.cli", "worker", self._app, "--in-dev"]
        words += ["--namespace", self._settings.namespace]
        words += ["--json"] if self._output.is_json else []
        from relight.cli.working import with_fixed_hash_seed

        # Settings are read from names of any case.
        own = {name: value for name, value in os.environ.items() if name.upper() != "RELIGHT_URL"}
        environment = with_fixed_hash_seed({**own, "RELIGHT_LOCAL_DIRECTORY": str(self._settings.local_directory)})
        return await asyncio.create_subprocess_exec(
            *words, stdin=asyncio.subprocess.PIPE, env=environment, process_group=0
        )

    async def _end(self, worker: asyncio.subprocess.Process, patience_s: float) -> None:
        """End the worker: in order, then at once (also at a second Ctrl-C), then by force."""
        if worker.returncode is None:
            worker.terminate()
            await self._ends_within(worker, patience_s)
        if worker.returncode is None:
            worker.terminate()
            await self._ends_within(worker, _RELOAD_PATIENCE_S)
        if worker.returncode is None:
            worker.kill()
            await worker.wait()

    async def _ends_within(self, worker: asyncio.subprocess.Process, seconds: float) -> None:
        ended = asyncio.create_task(worker.wait())
        impatient = asyncio.create_task(self._impatient.wait())
        await asyncio.wait((ended, impatient), timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        self._impatient.clear()
        for one in (ended, impatient):
            one.cancel()

    def _seen(self) -> Files:
        """Return the files as the next worker reads them."""
        from relight.cli.changes import remove_doubtful_bytecode, source_files

        files = source_files(self._directory)
        remove_doubtful_bytecode(files)
        return files

    def _say(self, text: str, style: str = "dim") -> None:
        if self._output.is_json:
            self._output.json({"dev": text})
        else:
            self._output.line((text, style))
