"""Steps side by side: `gather` and `TaskGroup` as you know them, replayed in the recorded order."""

import asyncio

from relight import Relight, Worker, WorkflowContext, step, workflow


@step
async def count_words(text: str) -> int:
    await asyncio.sleep(0.1)
    return len(text.split())


@workflow
async def count_all(ctx: WorkflowContext, texts: list[str]) -> int:
    return sum(await asyncio.gather(*(count_words(text) for text in texts)))


@workflow
async def count_both(ctx: WorkflowContext, first: str, second: str) -> int:
    async with asyncio.TaskGroup() as group:  # if one fails, the other is cancelled
        one = group.create_task(count_words(first))
        two = group.create_task(count_words(second))
    return one.result() + two.result()


async def main() -> None:
    async with Relight.local() as client, Worker(client, [count_all, count_both]):
        print(await client.call(count_all, ["one two three"] * 50))
        print(await client.call(count_both, "a b", "c d e"))


if __name__ == "__main__":
    asyncio.run(main())
