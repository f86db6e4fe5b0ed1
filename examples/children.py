"""Child runs: each has an id and a history of its own, and runs wherever its queue is worked on."""

import asyncio

from relight import Relight, RunFailed, Worker, WorkflowContext, step, workflow


@step
async def count_words(text: str) -> int:
    return len(text.split())


@workflow
async def digest_chapter(ctx: WorkflowContext, text: str) -> int:
    if not text:
        raise ValueError("an empty chapter")
    return await count_words(text)


@workflow
async def digest_book(ctx: WorkflowContext, chapters: list[str]) -> str:
    first = await ctx.call(digest_chapter, chapters[0])  # waits for it, holding nothing
    counts = await ctx.map(digest_chapter, chapters, concurrency=10)  # in order, at most ten at a time
    try:
        await ctx.call(digest_chapter, "")
    except RunFailed as error:  # with the child's own error
        return f"{first} words in the first, {sum(counts)} in all; then {error}"
    return "never reached"


async def main() -> None:
    async with Relight.local() as client, Worker(client, [digest_book, digest_chapter]):
        run = await client.start(digest_book, ["one two", "three"] * 10)
        print(await run.result())
        print("its first child:", await client.get_run(f"{run.id}-child-1").result())


if __name__ == "__main__":
    asyncio.run(main())
