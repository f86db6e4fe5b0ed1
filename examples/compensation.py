"""A saga: what was booked is undone in reverse order when a later booking fails, or when the run is cancelled."""

import asyncio

from relight import Relight, Retry, RunFailed, StepFailed, TerminalError, Worker, WorkflowContext, step, workflow


@step
async def book_flight(trip: str) -> str:
    print(f"booked a flight for {trip}")
    return f"flight-{trip}"


@step(retry=Retry(attempts=20))  # an undo should not give up soon
async def cancel_flight(trip: str) -> None:
    print(f"cancelled the flight for {trip}, if there was one")


@step
async def book_hotel(trip: str) -> str:
    print(f"booked a hotel for {trip}")
    return f"hotel-{trip}"


@step(retry=Retry(attempts=20))
async def cancel_hotel(trip: str) -> None:
    print(f"cancelled the hotel for {trip}, if there was one")


@step
async def charge(trip: str, cents: int) -> str:
    if cents > 100_000:
        raise TerminalError("the card was declined")
    return f"charge-{trip}"


@workflow
async def book_trip(ctx: WorkflowContext, trip: str, cents: int) -> list[str]:
    # Registered before the step: a booking that seems to have failed may have happened.
    ctx.compensate(cancel_flight, trip)
    flight = await book_flight(trip)
    ctx.compensate(cancel_hotel, trip)
    hotel = await book_hotel(trip)
    return [flight, hotel, await charge(trip, cents)]


async def main() -> None:
    async with Relight.local() as client, Worker(client, [book_trip]):
        print("booked:", await client.call(book_trip, "rome", 90_000))
        try:
            await client.call(book_trip, "tokyo", 400_000)
        except RunFailed as error:
            print(f"failed and undone: {error}; by a step: {error.matches(StepFailed)}; not undone: {error.not_undone}")


if __name__ == "__main__":
    asyncio.run(main())
