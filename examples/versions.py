"""Two versions of one workflow at work at once: a pinned run stays with the one that began it, until it is adopted."""

import asyncio

from relight import Relight, Worker, WorkflowContext, step, workflow


@step
async def greet(name: str) -> str:
    return f"hello {name}"


@step
async def greet_politely(name: str) -> str:
    return f"good morning, {name}"


@workflow(name="welcome", pin="version")
async def welcome_1(ctx: WorkflowContext, name: str) -> str:
    await ctx.suspend("arrived")
    return await greet(name)


@workflow(name="welcome", pin="version")
async def welcome_2(ctx: WorkflowContext, name: str) -> str:
    await ctx.suspend("arrived")
    # Without the pin, `ctx.patched` lets runs that began before go on the old way.
    return await (greet_politely(name) if ctx.patched("polite") else greet(name))


async def main() -> None:
    async with Relight.local() as client:
        async with Worker(client, [welcome_1], version="1"):
            ann = await client.start(welcome_1, "ann", id="ann")
            ben = await client.start(welcome_1, "ben", id="ben")
            for run in (ann, ben):
                await anext(run.history(follow=True))  # Version 1 has begun it.

            async with Worker(client, [welcome_2], version="2"):
                await ann.resume("arrived")
                print("version 1 is at work beside version 2:", await ann.result(timeout=30))

        # Version 1 is gone. The run waits for somebody who goes on with it, and loses nothing.
        await ben.resume("arrived")
        async with Worker(client, [welcome_2], version="2", adopts=["1"]):
            print("version 2 has adopted a run of version 1:", await ben.result(timeout=30))
            cat = await client.start(welcome_2, "cat", id="cat")
            await cat.resume("arrived")
            print("and has begun one of its own:", await cat.result(timeout=30))


if __name__ == "__main__":
    asyncio.run(main())
