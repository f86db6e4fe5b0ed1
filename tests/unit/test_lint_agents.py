"""Calls of models and agents, which tempt most to be made in a workflow, are found there."""

from __future__ import annotations

import pytest
from tests.linted import rules

HEAD = """
import anthropic, boto3, litellm, ollama, openai
from agents import Agent as OpenAIAgent, Runner
from google import genai
from langchain.chat_models import init_chat_model
from langchain_openai import ChatOpenAI
from litellm import acompletion
from openai import AzureOpenAI
from pydantic_ai import Agent

agent = Agent("openai:gpt-5")
model = ChatOpenAI()
chosen = init_chat_model("gpt-5")
google = genai.Client()
s3 = boto3.client("s3")
helper = OpenAIAgent(name="helper")
"""


@pytest.mark.parametrize(
    "call",
    [
        "await agent.run('hi')",
        "agent.run_sync('hi')",
        "async with agent.iter('hi') as run: pass",
        "await acompletion(model='x', messages=[])",
        "litellm.completion(model='x', messages=[])",
        "await model.ainvoke('hi')",
        "chosen.invoke('hi')",
        "await Runner.run(helper, 'hi')",
        "google.models.generate_content(model='x', contents='hi')",
        "genai.Client()",
        "ollama.chat(model='x')",
        "AzureOpenAI()",
        "anthropic.AsyncAnthropicBedrock()",
        "openai.chat.completions.create(model='x', messages=[])",
        "s3.get_object(Bucket='b', Key='k')",
    ],
)
def test_a_model_is_called_in_a_step(call: str) -> None:
    assert rules(call, head=HEAD) == ["network"]


@pytest.mark.parametrize(
    "harmless",
    [
        "Agent('openai:gpt-5', system_prompt='be brief')",
        "OpenAIAgent(name='x')",
        "litellm.token_counter(model='x', text='hi')",
        "raise openai.APIError('x', request=None, body=None)",
    ],
)
def test_to_name_a_model_reaches_nobody(harmless: str) -> None:
    assert rules(harmless, head=HEAD) == []
