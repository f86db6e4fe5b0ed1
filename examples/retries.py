"""A step that fails is tried again; a step that fails for good raises the same error live and in replay."""

import asyncio

from relight import Relight, Retry, RetryAfter, StepFailed, TerminalError, Worker, WorkflowContext, step, workflow


@step(retry=Retry(attempts=4, delay=0.05))
async def flaky() -> str:
    attempt = step.info().attempt
    if attempt == 1:
        raise ConnectionError("no answer")
    if attempt == 2:
        raise RetryAfter(0.1, "too many requests")  # the provider says when
    return f"done at attempt {attempt}"


@step(retry=Retry(attempts=3, delay=0.01))
async def broken() -> None:
    raise OSError("still no disk")


@step
async def hopeless() -> None:
    raise TerminalError("there is no such customer")  # no further attempt


@workflow
async def persist(ctx: WorkflowContext) -> list[str]:
    said = [await flaky()]
    for one in (broken, hopeless):
        try:
            await one()
        except StepFailed as error:
            said.append(f"{error.step}: {error}{' (an OSError)' if error.matches(OSError) else ''}")
    return said


async def main() -> None:
    async with Relight.local() as client, Worker(client, [persist]):
        for line in await client.call(persist):
            print(line)


if __name__ == "__main__":
    asyncio.run(main())
