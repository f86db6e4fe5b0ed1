"""The workflows that one worker can run."""

from __future__ import annotations

import sys
import sysconfig
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path
from typing import Any, final

from msgspec.structs import replace

from relight.actors.program import UnknownWorkflowError
from relight.errors import RefusedError
from relight.sdk._activation import Activation
from relight.sdk._execution import Launcher
from relight.sdk._workflow import Workflow
from relight.subjects.records import RunStarted

__all__ = ("WorkflowPrograms", "code_digest")


@final
class WorkflowPrograms:
    """Makes activations. Implements `actors.program.Programs`.

    Args:
        workflows: By name.
        launcher: Runs their steps.
        code: Digest of the code.
        version: Of the worker.
        adopts: Further versions with whose runs it goes on; None: with those of every version.

    Raises:
        RefusedError: Two workflows have one name.
    """

    def __init__(
        self,
        workflows: Sequence[Workflow[..., Any]],
        launcher: Launcher,
        *,
        code: str,
        version: str = "",
        adopts: Sequence[str] | None = None,
    ) -> None:
        self.code = code
        self._version = version
        self._adopted = None if adopts is None else frozenset(("", version, *adopts))
        self.inline_bytes_max = launcher.inline_bytes_max
        self._launcher = launcher
        self._by_name: dict[str, Workflow[..., Any]] = {}
        for one in workflows:
            if not isinstance(one, Workflow):  # pyright: ignore[reportUnnecessaryIsInstance]  # what users may pass
                raise TypeError(f"{one!r} is no workflow; decorate it with @workflow")
            if self._by_name.setdefault(one.name, one) is not one:
                raise RefusedError(f"two workflows are named {one.name!r}; give one another name: @workflow(name=…)")

    def create(self, run: str, started: RunStarted) -> Activation:
        workflow = self._by_name.get(started.workflow)
        if workflow is None:
            raise UnknownWorkflowError(started.workflow)
        if not self._goes_on_with(started.version):
            raise UnknownWorkflowError(started.workflow, started.version)
        return Activation(run, started, workflow, self._launcher)

    def has(self, workflow: str, version: str) -> bool:
        return workflow in self._by_name and self._goes_on_with(version)

    def _goes_on_with(self, version: str) -> bool:
        return self._adopted is None or version in self._adopted

    def begun(self, started: RunStarted) -> RunStarted:
        workflow = self._by_name.get(started.workflow)
        if workflow is None or not workflow.is_pinned:
            return started
        return replace(started, version=self._version)


def code_digest() -> str:
    """Return a digest of the user's source files that are loaded: no standard library, nothing that is installed."""
    digest = blake2b(digest_size=8)
    outside = {str(Path(path).resolve()) for name, path in sysconfig.get_paths().items() if name.endswith("lib")}
    ours = str(Path(__file__).resolve().parent.parent)
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for file in sorted(str(Path(one).resolve()) for one in files if one):
        if file.endswith(".py") and not file.startswith((ours, *outside)):
            digest.update(Path(file).read_bytes() if Path(file).exists() else b"")
    return digest.hexdigest()
