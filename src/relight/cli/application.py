"""All verbs of the command, in the order in which `--help` lists them."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from relight.cli import (
    answering,
    comparing,
    deciding,
    developing,
    doctor,
    linting,
    looking,
    replaying,
    starting,
    versioning,
    working,
)
from relight.cli.verb import VERBS

__all__ = ("run_application",)

_EPILOG = "The server: --url, else RELIGHT_URL, else the one of ./.relight, which `relight dev` makes."


def run_application() -> None:
    """Build the command and run it."""
    # In a pipe the frames of rich's help would be in the way, and in every case they cost 0.1 s.
    markup = "rich" if sys.stdout.isatty() else None
    application = typer.Typer(
        name="relight",
        help="Durable execution on NATS JetStream: run workflows, look at runs, answer them.",
        epilog=_EPILOG,
        no_args_is_help=True,
        rich_markup_mode=markup,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]  # a str to both checkers
        pretty_exceptions_enable=False,
    )
    application.callback()(_about)
    modules = (
        developing,
        working,
        starting,
        looking,
        comparing,
        answering,
        deciding,
        linting,
        replaying,
        versioning,
        doctor,
    )
    for module in modules:
        for one in VERBS:
            if one.module == module.__name__:
                application.command(one.name, context_settings=one.context_settings)(one.run)
    application(prog_name="relight")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print(f"relight {version('relight')}")
        raise typer.Exit


def _about(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    """Nothing: the option does it all."""
