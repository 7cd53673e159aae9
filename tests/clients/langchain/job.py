# mypy: ignore-errors
# Runs in an environment of its own: the tests' has no LangChain.
"""LangChain's Replicate LLM; prints JSON.

REPLICATE_BASE_URL and REPLICATE_API_TOKEN are all that it is told.
"""

import json
import sys
import warnings

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from langchain_community.llms import Replicate

import replicate

LLAMA = "meta/meta-llama-3-8b-instruct"
MOST = {"max_tokens": 12}

version = replicate.models.get(LLAMA).latest_version.id
official = Replicate(model=LLAMA, model_kwargs=MOST)
pinned = Replicate(model=f"{LLAMA}:{version}", model_kwargs=MOST)

found = {
    "official": official.invoke("rivers and lakes"),
    "pinned": pinned.invoke("rivers and lakes"),
    "streamed": list(official.stream("rivers and lakes")),
    "stopped": pinned.invoke("rivers and lakes", stop=["said"]),
}
sys.stdout.write(json.dumps(found))
