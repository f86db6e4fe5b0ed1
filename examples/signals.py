"""A run that collects messages until it is told to stop."""

import asyncio

from relight import Relight, Worker, WorkflowContext, workflow


@workflow
async def shopping_list(ctx: WorkflowContext) -> list[str]:
    items: list[str] = []
    async for item in ctx.signals("item", type=str):
        if item == "that is all":
            return items
        items.append(item)
        ctx.set_details({"items": len(items)})  # what `describe()` shows
    return items


async def main() -> None:
    async with Relight.local() as client, Worker(client, [shopping_list]):
        run = await client.start(shopping_list)
        for item in ("bread", "butter"):
            await run.signal("item", item)
        for _ in range(3):
            await run.signal("item", "jam", id="jam-1")  # an id counts once, however often it is sent
        await run.signal("item", "that is all")
        print(await run.result())

        # Whoever is first starts the list; the others' signals go to the same run.
        for item in ("milk", "eggs", "that is all"):
            shared = await client.signal_with_start(
                shopping_list, signal="item", data=item, signal_id=item, id="list-7"
            )
        print(await shared.result())


if __name__ == "__main__":
    asyncio.run(main())
