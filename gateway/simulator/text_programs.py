"""Models that answer with words, numbers or whatever they were given."""

from gateway.simulator.schemas import InputSchema, integer, number, string
from gateway.simulator.scripts import Job, PlainProgram, Script, Step, StreamKind
from gateway.simulator.wire import Json, JsonObject

_WORDS = (
    " the",
    " llama",
    " river",
    " carries",
    " a",
    " small",
    " light",
    ",",
    " and",
    " nobody",
    " asks",
    " why",
    " it",
    " sings",
    ".",
    " Once",
    " more",
    " naïve",
    " 🦙",
    " “quoted”",
    "\n\n",
    " data:",
    " über",
    " today",
)
_TOKENS_PER_S = 80.0
_MOST_TICKS = 600
_TOKENS: JsonObject = {
    "type": "array",
    "items": {"type": "string"},
    "title": "Output",
    "x-cog-array-type": "iterator",
    "x-cog-array-display": "concatenate",
}
_ANYTHING: JsonObject = {"title": "Output"}


class Llama(PlainProgram):
    """meta/meta-llama-3-8b-instruct: a list of tokens that grows, and can be followed."""

    stream: StreamKind | None = "streams"
    output_schema = _TOKENS
    schema = InputSchema(
        {
            "prompt": string("What to answer", ""),
            "system_prompt": string("How to behave", "You are a helpful assistant"),
            "max_tokens": integer("Longest answer", 512, minimum=1),
            "min_tokens": integer("Shortest answer", minimum=-1),
            "temperature": number("How freely to choose", 0.7, minimum=0),
            "top_p": number("Share of likely words", 0.95, minimum=0, maximum=1),
            "top_k": integer("Number of likely words", 0),
            "presence_penalty": number("Against repeating subjects", 0.0),
            "stop_sequences": string("Comma-separated texts to stop at", ""),
            "prompt_template": string("Frame around the prompt"),
            "seed": integer("For an answer that can be had again"),
        },
    )

    def tokens(self, job: Job) -> list[str]:
        """Return the answer, token by token."""
        usual = 40 + int(32 * job.share("length"))
        count = min(max(usual, job.count("min_tokens", 0)), job.count("max_tokens", 512))
        first = job.text("prompt", "").split()[:1]
        opening = f"You said {first[0]!r}:" if first else "Hello:"
        return [opening] + [
            _WORDS[int(job.share(f"word{index}") * len(_WORDS))] for index in range(count - 1)
        ]

    def script(self, job: Job) -> Script:
        """Lay out a run: the first token after a while, the others at an even pace."""
        tokens = self.tokens(job)
        first_s = job.around(0.08)
        pace = 1 / _TOKENS_PER_S
        steps = tuple(
            Step(first_s + pace * index, "output", token) for index, token in enumerate(tokens)
        )
        run_s = first_s + pace * len(tokens)
        said = job.text("prompt", "") + job.text("system_prompt", "")
        return Script(
            queue_s=0.15,
            run_s=run_s,
            result=list(tokens),
            steps=steps,
            partial_output=True,
            metrics={
                "input_token_count": max(1, len(said) // 4),
                "output_token_count": len(tokens),
                "time_to_first_token": round(first_s, 9),
                "tokens_per_second": round(len(tokens) / run_s, 9),
            },
        )


class Echo(PlainProgram):
    """Answers its `value`, whatever that is."""

    output_schema = _ANYTHING
    schema = InputSchema({"value": {"description": "Anything"}})

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        value: Json = job.input.get("value")
        return Script(0.0, job.around(0.1), value)


class HelloWorld(PlainProgram):
    """replicate/hello-world: answers a greeting."""

    schema = InputSchema({"text": string("Text to prefix with 'hello '")}, required=("text",))

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        return Script(0.0, job.around(0.02), f"hello {job.text('text', '')}")


class Failing(PlainProgram):
    """Runs for a while and fails."""

    schema = InputSchema(
        {
            "message": string("The error", "CUDA out of memory"),
            "seconds": number("How long it runs", 0.5, minimum=0),
        }
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        message = job.text("message", "CUDA out of memory")
        run_s = job.number("seconds", 0.5)
        trace = f"Traceback (most recent call last):\nRuntimeError: {message}\n"
        return Script(0.2, run_s, error=message, steps=(Step(0.9 * run_s, "logs", trace),))


class Queue(PlainProgram):
    """Never starts."""

    def script(self, job: Job) -> Script:
        """Lay out an endless wait."""
        return Script(float("inf"), 1.0)


class Slow(PlainProgram):
    """Takes as long as it is told to, and says so once a second; can be followed."""

    stream: StreamKind | None = "streams"
    schema = InputSchema(
        {
            "seconds": number("How long it runs", 10, minimum=0),
            "queue_seconds": number("How long it waits before", 0, minimum=0),
        }
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        run_s = job.number("seconds", 10.0)
        ticks = range(1, min(int(run_s), _MOST_TICKS) + 1)
        steps = tuple(Step(float(second), "logs", f"{second} s\n") for second in ticks)
        words = f"waited {run_s:g} s"
        shown = Step(run_s, "output", words)
        return Script(job.number("queue_seconds", 0.0), run_s, words, steps=(*steps, shown))
