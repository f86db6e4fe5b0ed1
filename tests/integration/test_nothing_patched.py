"""Python stays as it is: the import of Relight and the run of a workflow replace nothing, and sandbox no import."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = '''
import asyncio, builtins, datetime, importlib, os, random, sys, threading, time, uuid

MODULES = asyncio, builtins, datetime, importlib, os, random, threading, time, uuid
FINDING = "modules", "path", "meta_path", "path_hooks"

def things():
    """Everything public that these modules hold, and how others are found."""
    found = {f"{one.__name__}.{name}": value for one in MODULES for name, value in vars(one).items() if name[0] != "_"}
    found["builtins.__import__"] = builtins.__import__
    found |= {f"sys.{name}": getattr(sys, name) for name in FINDING}
    found |= {f"sys.meta_path[{number}]": one for number, one in enumerate(sys.meta_path)}
    return found

before = things()
finders = len(sys.meta_path)

def replaced():
    now = things()
    found = [name for name, value in before.items() if now.get(name) is not value]
    if len(sys.meta_path) != finders:
        found.append(f"sys.meta_path: {sys.meta_path}")
    if sys._getframe(1).f_builtins is not vars(builtins):
        found.append(f"the builtins of {sys._getframe(1).f_code.co_name}")
    return found

import relight
from relight.testing import TestEnvironment

for name in relight.__all__:
    getattr(relight, name)  # Most is loaded only now.
assert not replaced(), f"after the import: {replaced()}"

@relight.step
async def looks() -> list[str]:
    return replaced()

@relight.workflow
async def flow(ctx: relight.WorkflowContext) -> list[str]:
    import sched

    assert sched is sys.modules["sched"]
    at_first = replaced()
    in_a_step = await looks()
    await asyncio.sleep(3600)
    return [*at_first, *in_a_step, *replaced()]

async def main():
    assert "sched" not in sys.modules, "it is imported in the workflow first"
    async with TestEnvironment([flow]) as environment:
        run = await environment.start(flow)
        found = await run.result()
        assert not found, f"in the workflow or its step: {found}"

asyncio.run(main())
assert not replaced(), f"after the run: {replaced()}"
print("as it was")
'''


def test_nothing_of_python_is_replaced_by_the_import_or_by_a_run() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=False)

    assert done.stdout == "as it was\n", done.stderr
