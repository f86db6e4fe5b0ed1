"""A run that waits for a person, for as long as it takes, and holds nothing meanwhile."""

import asyncio
from dataclasses import dataclass

from relight import AlreadyAnsweredError, Relight, WaitTimedOut, Worker, WorkflowContext, step, workflow


@dataclass(frozen=True)
class Decision:
    approved: bool
    by: str


@step
async def publish(text: str) -> str:
    return f"published: {text}"


@workflow
async def post(ctx: WorkflowContext, text: str) -> str:
    try:
        decision = await ctx.suspend("editor", {"text": text}, type=Decision, timeout=3 * 24 * 3600)
    except WaitTimedOut:
        return "nobody looked at it in three days"
    if not decision.approved:
        return f"{decision.by} said no"
    return await publish(text)


async def main() -> None:
    async with Relight.local() as client:
        async with Worker(client, [post]):
            run = await client.start(post, "Hello")
        # No worker any more. The answer is kept until there is one.
        await run.resume("editor", Decision(approved=True, by="ann"))
        try:
            await run.resume("editor", Decision(approved=False, by="ben"))
        except AlreadyAnsweredError as error:
            print(error)
        async with Worker(client, [post]):
            print(await run.result())


if __name__ == "__main__":
    asyncio.run(main())
