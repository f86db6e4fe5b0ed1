"""What all verbs have in common: the connection's options, `--json`, and how a failure is said.

A verb is a function whose first parameter is the `Edge`; typer sees the others, and the shared options behind
them. It prints through `edge.output` and raises what the library raises: one line on standard error, and exit code 1.
"""

from __future__ import annotations

import asyncio
import inspect
import os
import sys
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, Concatenate, ParamSpec

import typer

from relight.cli.output import Output, one_line
from relight.cli.place import Place, find_place
from relight.errors import RelightError

__all__ = ("VERBS", "AlreadySaidError", "Edge", "Verb", "run_verb", "said", "verb")

P = ParamSpec("P")

Url = Annotated[str | None, typer.Option("--url", help="NATS servers; else RELIGHT_URL.", show_default=False)]
Namespace = Annotated[
    str | None, typer.Option("--namespace", help="Else RELIGHT_NAMESPACE, else `default`.", show_default=False)
]
Credentials = Annotated[
    str | None, typer.Option("--credentials", help="A .creds file; else RELIGHT_CREDENTIALS.", show_default=False)
]
AsJson = Annotated[bool, typer.Option("--json", help="Machine readable: JSON, no colours.")]


class AlreadySaidError(Exception):
    """What went wrong stands on standard error already."""


@dataclass(frozen=True)
class Edge:
    """Where the world's side of one call is read."""

    url: str | None
    namespace: str | None
    credentials: str | None
    output: Output

    @cached_property
    def place(self) -> Place:
        """The server that is meant. Raises `InvalidValueError` when a setting is wrong or none is named."""
        return find_place(url=self.url, namespace=self.namespace, credentials=self.credentials)


@dataclass(frozen=True)
class Verb:
    """One word of the command, as typer gets it."""

    name: str
    module: str
    run: Callable[..., None]
    context_settings: dict[str, Any]


VERBS: list[Verb] = []

_SHARED = (
    inspect.Parameter("url", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Url),
    inspect.Parameter("namespace", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Namespace),
    inspect.Parameter("credentials", inspect.Parameter.KEYWORD_ONLY, default=None, annotation=Credentials),
    inspect.Parameter("as_json", inspect.Parameter.KEYWORD_ONLY, default=False, annotation=AsJson),
)

Action = Callable[Concatenate[Edge, P], Coroutine[Any, Any, None] | None]


def verb(name: str, *, takes_json: bool = False) -> Callable[[Action[P]], Action[P]]:
    """Make a verb of a function, async or not. With `takes_json` an argument may begin with `-`, as `-5` does."""

    def register(action: Action[P]) -> Action[P]:
        own = list(inspect.signature(action, eval_str=True).parameters.values())[1:]

        def run(**given: Any) -> None:
            url, namespace, credentials, as_json = (given.pop(one.name) for one in _SHARED)
            edge = Edge(url, namespace, credentials, Output(is_json=as_json))
            run_verb(lambda: _run(action, edge, given))

        run.__doc__ = action.__doc__
        keyword_only = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
        run.__signature__ = inspect.Signature([*keyword_only, *_SHARED])  # type: ignore[attr-defined]  # read by inspect
        settings: dict[str, Any] = {"ignore_unknown_options": True} if takes_json else {}
        VERBS.append(Verb(name, action.__module__, run, settings))
        return action

    return register


def _run(action: Callable[..., Coroutine[Any, Any, None] | None], edge: Edge, given: dict[str, Any]) -> None:
    doing = action(edge, **given)
    if doing is not None:
        asyncio.run(doing)


def run_verb(work: Callable[[], None]) -> None:
    """Do the work and end like a command: no traceback is ever ours."""
    try:
        work()
        sys.stdout.flush()
    except AlreadySaidError:
        raise typer.Exit(1) from None
    except RelightError as error:
        _fail(said(error))
    except BrokenPipeError:
        # Who reads has seen enough (`relight runs | head`).
        _write_nothing_more()
        raise typer.Exit(1) from None
    except OSError as error:
        _write_nothing_more()
        _fail(str(error))
    except (KeyboardInterrupt, typer.Abort):
        raise typer.Exit(130) from None
    except (typer.Exit, typer.BadParameter):
        raise
    except Exception as error:  # noqa: BLE001 - the edge: a user gets no traceback of ours
        _fail(f"a defect of relight: {type(error).__name__}: {error}; please report it with what you did")


def _write_nothing_more() -> None:
    """The interpreter must not try to flush once more."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def said(error: RelightError) -> str:
    """Return an error in words, with the type of one that was recorded."""
    text = str(error) or type(error).__name__
    error_type = getattr(error, "error_type", "")
    return f"{error_type}: {text}" if error_type else text


def _fail(text: str) -> None:
    print(one_line(text), file=sys.stderr)
    raise typer.Exit(1)
