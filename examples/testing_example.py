"""Tests of a workflow: in memory, no server, the real engine, and time that passes at once. Pytest runs them, too."""

import asyncio
from dataclasses import dataclass

from relight import WorkflowContext, step, workflow
from relight.testing import TestEnvironment, crash_everywhere


@dataclass(frozen=True)
class Answer:
    text: str


@step
async def send_question(to: str) -> str:
    raise OSError("a test does not send real mail")


@step
async def file_answer(text: str) -> None:
    raise OSError("nor write real files")


@workflow
async def survey(ctx: WorkflowContext, to: str) -> str:
    question = await send_question(to)
    await ctx.sleep(7 * 24 * 3600)
    answer = await ctx.suspend("answer", {"question": question}, type=Answer)
    await file_answer(answer.text)
    return f"{question} {answer.text}"


def ask(to: str) -> str:
    return f"{to}, how are you?"


def file(text: str) -> None:
    """Nothing to do in a test."""


async def test_a_survey_waits_for_its_answer() -> None:
    async with TestEnvironment([survey]) as env:
        env.fake(send_question)(ask)
        env.fake(file_answer)(file)

        run = await env.start(survey, "ann")
        await env.until(run, suspended="answer")  # a week of sleep passes at once
        await run.resume("answer", Answer("fine"))

        assert await run.result() == "ann, how are you? fine"
        await env.replay(run)  # would today's code go on with what was recorded?


async def test_a_survey_survives_a_crash_at_every_point() -> None:
    report = await crash_everywhere(
        survey,
        "ann",
        answers={"answer": Answer("fine")},
        fakes={send_question: ask, file_answer: file},
    )

    assert report.crashes > 0


async def main() -> None:
    for test in (test_a_survey_waits_for_its_answer, test_a_survey_survives_a_crash_at_every_point):
        await test()
        print(f"passed: {test.__name__}")


if __name__ == "__main__":
    asyncio.run(main())
