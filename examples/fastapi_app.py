"""FastAPI with a worker beside it, in one process: `uvicorn examples.fastapi_app:app`."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import uvicorn
from fastapi import FastAPI, HTTPException, Request

from relight import Relight, RunNotFoundError, Worker, WorkflowContext, step, workflow


@step
async def write_greeting(name: str) -> str:
    return f"Hello, {name}"


@workflow
async def greet(ctx: WorkflowContext, name: str) -> str:
    greeting = await write_greeting(name)
    await ctx.suspend("approval", {"greeting": greeting})
    return greeting


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None, None]:
    async with Relight.local() as client, Worker(client, [greet]):
        app.state.client = client
        yield


app = FastAPI(lifespan=lifespan)


def client_of(request: Request) -> Relight:
    client: Relight = request.app.state.client
    return client


@app.post("/greetings/{id}", status_code=202)
async def start(request: Request, id: str, name: str) -> dict[str, str]:
    run = await client_of(request).start(greet, name, id=id)  # durable when this returns
    return {"run": run.id}


@app.post("/greetings/{id}/approval")
async def approve(request: Request, id: str) -> dict[str, str]:
    run = client_of(request).get_run(id, type=str)
    await run.resume("approval")
    return {"greeting": await run.result(timeout=30)}


@app.get("/greetings/{id}")
async def show(request: Request, id: str) -> dict[str, object]:
    try:
        sight = await client_of(request).get_run(id).describe()
    except RunNotFoundError as error:
        raise HTTPException(404, str(error)) from error
    return {"status": sight.status, "waits_for": sight.waits_for}


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=8000)
