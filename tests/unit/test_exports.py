"""What each package exports: sorted, importable, complete, and nothing that is not built yet."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest

import relight

MODULES = sorted(one.name for one in pkgutil.walk_packages(relight.__path__, "relight.") if "__main__" not in one.name)
PUBLIC = ("relight", "relight.config", "relight.errors", "relight.testing")

NOT_BUILT = {
    "Agent",
    "AgentResult",
    "Batch",
    "Budget",
    "CloudEvent",
    "Cron",
    "Grant",
    "Limit",
    "Part",
    "Queue",
    "Stream",
    "Tool",
    "Topic",
    "Trigger",
    "Usage",
    "tool",
}
NOT_BUILT_MEMBERS = {
    "WorkflowContext": (
        "publish",
        "wait_for_event",
        "limit",
        "lock",
        "stream",
    ),
    "Run": ("stream",),
    "Relight": ("publish",),
}


@pytest.mark.parametrize("name", ["relight", *MODULES])
def test_a_module_says_what_it_exports_in_order_and_has_it(name: str) -> None:
    module = importlib.import_module(name)
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    if len(tree.body) <= 1:
        return  # A package that only groups modules.

    exported: tuple[str, ...] = module.__all__

    assert isinstance(exported, tuple)
    assert list(exported) == sorted(exported, key=_as_isort_does)
    assert len(set(exported)) == len(exported)
    for one in exported:
        assert hasattr(module, one), f"{name}.{one}"


def _as_isort_does(name: str) -> tuple[int, str]:
    """Constants, then classes, then the rest."""
    if name.isupper():
        return 0, name
    return (1, name) if name.lstrip("_")[:1].isupper() else (2, name)


def test_the_face_exports_every_error_that_a_caller_may_meet() -> None:
    internal = {"FencedError", "ProtocolError"}
    errors = importlib.import_module("relight.errors")

    assert set(errors.__all__) - internal <= set(relight.__all__)


def test_the_face_holds_nothing_else_than_it_exports() -> None:
    public = {name for name in dir(relight) if not name.startswith(("_", "@"))} - {"TYPE_CHECKING", "import_module"}
    packages = {one.name for one in pkgutil.iter_modules(relight.__path__)}

    assert public - packages == set(relight.__all__) - packages


@pytest.mark.parametrize("name", PUBLIC)
def test_what_is_not_built_yet_is_not_there(name: str) -> None:
    module = importlib.import_module(name)

    assert NOT_BUILT.isdisjoint(module.__all__)
    for kind, members in NOT_BUILT_MEMBERS.items():
        for member in members:
            assert not hasattr(getattr(relight, kind), member), f"{kind}.{member}"
