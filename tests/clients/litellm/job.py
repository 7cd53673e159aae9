# mypy: ignore-errors
# Runs in an environment of its own: the tests' has no LiteLLM.
"""LiteLLM's `replicate/` provider: as it is, and then with its address put right. Prints JSON.

Waits for a line between the two, so that what each of them tried can be told apart.
"""

import asyncio
import json
import os
import sys

import litellm
from litellm.llms.replicate.chat.transformation import ReplicateConfig

litellm.suppress_debug_info = True
BASE, KEY = os.environ["BASE_URL"], os.environ["KEY"]
MODEL = "replicate/meta/meta-llama-3-8b-instruct"
ASKED = [{"role": "user", "content": "rivers"}]
TOLD = {"model": MODEL, "messages": ASKED, "api_base": BASE, "api_key": KEY, "num_retries": 0}


def say(**found: object) -> None:
    sys.stdout.write(json.dumps(found) + "\n")
    sys.stdout.flush()


def as_it_is() -> str:
    try:
        return str(litellm.completion(**TOLD, timeout=10))
    except litellm.exceptions.APIError as error:
        return str(error)


def put_right() -> None:
    """What docs/clients.md says: the provider's own address comes from nowhere but this method."""

    def complete_url(self, api_base, api_key, model, *_, **__):
        name = model.replace("deployments/", "")
        kind = "deployments" if name != model else "models"
        return f"{api_base.rstrip('/')}/{kind}/{name}/predictions"

    ReplicateConfig.get_complete_url = complete_url


def refused() -> str:
    try:
        litellm.completion(**{**TOLD, "api_key": "hk-nobody"})
    except litellm.exceptions.AuthenticationError as error:
        return str(error)
    return ""


async def asynchronous() -> str:
    answer = await litellm.acompletion(**TOLD)
    return answer.choices[0].message.content


say(as_it_is=as_it_is())
sys.stdin.readline()
put_right()
say(
    whole=litellm.completion(**TOLD).choices[0].message.content,
    streamed=[
        chunk.choices[0].delta.content or "" for chunk in litellm.completion(**TOLD, stream=True)
    ],
    asynchronous=asyncio.run(asynchronous()),
    refused=refused(),
)
