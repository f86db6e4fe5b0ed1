"""What a person decides about a run: `pause`, `unpause`, `cancel`, `terminate`, `retry`, `resolve`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from relight.cli.arguments import Confirmed, OfStatus, OfWorkflow, RunName, RunNameOrMany, Since, read_json
from relight.cli.bulk import Decision, check_choice, decide_all
from relight.cli.session import client
from relight.cli.verb import Edge, verb
from relight.cli.words import command
from relight.errors import RefusedError

if TYPE_CHECKING:
    from relight.sdk._run import Run

__all__ = ("cancel", "pause", "resolve", "retry", "terminate", "unpause")

_RETRIED = frozenset(("stuck", "retries_exhausted", "quarantined"))
"""A step of unknown outcome would run again, perhaps a second time; a corrupt run can't go on; and the reason may be
sealed here."""

Reason = Annotated[str, typer.Option("--reason", help="Recorded in the history.", show_default=False)]
StepName = Annotated[str, typer.Argument(metavar="STEP", help="Its key, for example send_email#1, or its name.")]


@verb("pause")
async def pause(edge: Edge, run: RunName) -> None:
    """Hold a run between steps; what is under way ends, and what comes is kept."""
    async with client(edge.place) as relight:
        await relight.get_run(run).pause()
    _decided(edge, run, "pause", "told to pause: run")


@verb("unpause")
async def unpause(edge: Edge, run: RunName) -> None:
    """Let a paused run go on."""
    async with client(edge.place) as relight:
        await relight.get_run(run).unpause()
    _decided(edge, run, "unpause", "told to go on: run")


@verb("cancel")
async def cancel(
    edge: Edge,
    run: RunNameOrMany = None,
    status: OfStatus = None,
    workflow: OfWorkflow = None,
    since: Since = None,
    yes: Confirmed = False,
    reason: Reason = "",
) -> None:
    """Ask a run, or many, to stop; clean-up steps run."""

    async def tell(one: Run[Any]) -> None:
        await one.cancel(reason=reason)

    decision = Decision("cancel", "asked for the end of", "Cancel", tell)
    await _decide(
        edge, decision, run, "asked for the end of run", status=status, workflow=workflow, since=since, yes=yes
    )


@verb("terminate")
async def terminate(
    edge: Edge,
    run: RunNameOrMany = None,
    status: OfStatus = None,
    workflow: OfWorkflow = None,
    since: Since = None,
    yes: Confirmed = False,
    reason: Reason = "",
) -> None:
    """End a run, or many, at once; none of their code runs any more."""

    async def tell(one: Run[Any]) -> None:
        await one.terminate(reason=reason)

    decision = Decision("terminate", "told to end at once:", "Terminate", tell)
    await _decide(
        edge, decision, run, "told to end at once: run", status=status, workflow=workflow, since=since, yes=yes
    )


@verb("retry")
async def retry(
    edge: Edge,
    run: RunNameOrMany = None,
    status: OfStatus = None,
    workflow: OfWorkflow = None,
    since: Since = None,
    yes: Confirmed = False,
) -> None:
    """Let a parked run, or many, go on, after a fix; of many only those of which nobody need say what happened."""

    async def tell(one: Run[Any]) -> None:
        if run is not None:
            await _check_goes_on(one)
        await one.retry()

    decision = Decision("retry", "told to go on:", "Retry", tell, _RETRIED)
    await _decide(edge, decision, run, "told to go on: run", status=status, workflow=workflow, since=since, yes=yes)


@verb("resolve")
async def resolve(
    edge: Edge,
    run: RunName,
    step: StepName,
    result: Annotated[
        str | None, typer.Option("--result", metavar="JSON", help="It was done, and this came of it.")
    ] = None,
    error: Annotated[str | None, typer.Option("--error", metavar="TEXT", help="It failed, and this is why.")] = None,
    rerun: Annotated[bool, typer.Option("--rerun", help="Run it again.")] = False,
) -> None:
    """Say what became of a step with unknown outcome."""
    if (result is not None) + (error is not None) + rerun != 1:
        raise typer.BadParameter("give exactly one of --result JSON, --error TEXT and --rerun")
    value = None if result is None else read_json(result)
    async with client(edge.place) as relight:
        await relight.get_run(run).resolve(step, result=value, error=error, rerun=rerun)
    _decided(edge, run, "resolve", f"sent what became of step {step} of run")


async def _check_goes_on(run: Run[Any]) -> None:
    if (await run.describe()).parked == "corrupt":
        ends = command("terminate", run.id)
        raise RefusedError(f"run {run.id!r} is corrupt, and can't go on; what helps: {ends}")


def _decided(edge: Edge, run: str, decision: str, text: str) -> None:
    if edge.output.is_json:
        edge.output.json({"run": run, "decided": decision})
    else:
        edge.output.line(f"{text} {run}")


async def _decide(
    edge: Edge,
    decision: Decision,
    run: str | None,
    text: str,
    *,
    status: str | None,
    workflow: str | None,
    since: float | None,
    yes: bool,
) -> None:
    check_choice(run, workflow=workflow, status=status, since=since, yes=yes)
    if run is not None:
        async with client(edge.place) as relight:
            await decision.tell(relight.get_run(run))
        _decided(edge, run, decision.name, text)
        return
    from relight.cli.choosing import Filters

    if decision.name == "retry":
        if status not in (None, "parked"):
            raise typer.BadParameter("only parked runs can be retried")
        status = "parked"
    await decide_all(edge, decision, Filters(workflow, status, since), is_confirmed=yes)
