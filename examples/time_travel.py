"""A run is held while somebody looks at it, and what would have been is tried on a copy."""

import asyncio

from relight import Relight, Run, Worker, WorkflowContext, step, workflow


@step
async def price(item: str) -> int:
    print(f"asked for the price of {item}")
    return {"tea": 4, "cake": 6}[item]


@step
async def order(item: str, count: int) -> str:
    return f"{count} x {item}"


@workflow
async def buy(ctx: WorkflowContext, item: str, budget: int) -> str:
    each = await price(item)
    await ctx.suspend("confirmed")
    return await order(item, budget // each)


async def recorded(run: Run[str], kind: str) -> None:
    """Return when the history has a record of this kind."""
    async for record in run.history(follow=True):
        if record.kind == kind:
            return


async def main() -> None:
    async with Relight.local() as client, Worker(client, [buy]):
        run = await client.start(buy, "tea", 12, id="tea")
        await recorded(run, "Suspended")

        await run.pause()
        await recorded(run, "Paused")
        await run.resume("confirmed")  # It is kept.
        print("held:", (await run.describe()).status)
        await run.unpause()
        print("bought:", await run.result())

        # The price is not asked for again: it is part of the copy, or is what we say it was.
        dearer = await run.fork(after="price#1", replace={"price#1": 6}, id="dearer")
        richer = await run.fork(after="price#1", args=("tea", 40), id="richer")
        for fork in (dearer, richer):
            await fork.resume("confirmed")
            print(f"{fork.id}:", await fork.result())


if __name__ == "__main__":
    asyncio.run(main())
