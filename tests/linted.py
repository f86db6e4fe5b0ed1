"""Lints code that is given as text."""

from __future__ import annotations

import textwrap
from pathlib import Path

from relight.lint.finding import Finding
from relight.lint.linting import Report, lint_files

__all__ = ("HEAD", "findings", "linted", "rules")

HEAD = "from relight import WorkflowContext, step, workflow\n"
ROOT = Path("/project")


def linted(code: str, **others: str) -> Report:
    """Lint `app.py`, with others: `shop__prices=…` is `shop/prices.py`, `shop__init=…` is `shop/__init__.py`."""
    files = {ROOT / "app.py": HEAD + textwrap.dedent(code)}
    for name, text in others.items():
        files[ROOT / f"{name.replace('__', '/').replace('/init', '/__init__')}.py"] = HEAD + textwrap.dedent(text)
    return lint_files([ROOT / "app.py"], read=files.get, shown=lambda path: str(path.relative_to(ROOT)))


def findings(code: str, **others: str) -> tuple[Finding, ...]:
    """Return what is found in `app.py`, which has at least one workflow."""
    report = linted(code, **others)
    assert report.workflows
    return report.findings


def rules(body: str, *, head: str = "", parameters: str = "") -> list[str]:
    """Return the rules that the body of one workflow breaks, in the order of its lines."""
    signature = f"ctx: WorkflowContext{', ' if parameters else ''}{parameters}"
    indented = textwrap.indent(textwrap.dedent(body), "    ")
    code = f"{textwrap.dedent(head)}\n@workflow\nasync def flow({signature}):\n{indented}"
    return [one.rule for one in findings(code)]
