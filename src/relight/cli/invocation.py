"""The command that would start a workflow, made from its signature."""

from __future__ import annotations

import inspect
from typing import Any

from relight.cli.words import command
from relight.sdk._workflow import DEFAULT_QUEUE, Workflow

__all__ = ("example",)

_EXAMPLES = {"str": '"{}"', "int": "1", "float": "1.5", "bool": "true", "datetime": '"2030-01-31T12:00:00Z"'}


def example(workflow: Workflow[..., Any]) -> str:
    """Return `relight start greet '"name"'`: for simple types it works as it stands."""
    parameters = list(inspect.signature(workflow.function).parameters.values())[1:]
    needed = [one for one in parameters if one.default is one.empty and one.kind is not one.VAR_POSITIONAL]
    options = () if workflow.queue == DEFAULT_QUEUE else ("--queue", workflow.queue)
    return command("start", workflow.name, *(_value(one) for one in needed), options=options)


def _value(parameter: inspect.Parameter) -> str:
    annotation: object = parameter.annotation
    name = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", "")
    if name.startswith(("list", "tuple", "Sequence")):
        return "[]"
    return _EXAMPLES.get(name, "{{}}").format(parameter.name)
