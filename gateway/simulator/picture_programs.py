"""Models that make pictures."""

from functools import partial

from gateway.simulator.pictures import ASPECTS, MEDIA_TYPES, Card, card_size, draw_card
from gateway.simulator.schemas import (
    InputSchema,
    boolean,
    choice,
    integer,
    number,
    string,
    uri,
)
from gateway.simulator.scripts import (
    Job,
    OutputFile,
    PlainProgram,
    Script,
    Step,
    StreamKind,
    sampler_logs,
)
from gateway.simulator.wire import Json, JsonObject

_PICTURE_LIST: JsonObject = {
    "type": "array",
    "items": {"type": "string", "format": "uri"},
    "title": "Output",
}
_PICTURE: JsonObject = {"type": "string", "format": "uri", "title": "Output"}
_OBJECT: JsonObject = {"type": "object", "title": "Output"}
_KINDS = ("webp", "jpg", "png")


def _picture(job: Job, name: str, card: Card) -> OutputFile:
    return OutputFile(name, MEDIA_TYPES[card.kind], partial(draw_card, card))


def _sampler_pictures(job: Job, default_steps: int) -> tuple[OutputFile, ...]:
    kind = job.text("output_format", "webp")
    width, height = card_size(job.text("aspect_ratio", "1:1"), job.text("megapixels", "1"))
    count = job.count("num_outputs", 1)
    steps = job.count("num_inference_steps", default_steps)
    return tuple(
        _picture(
            job,
            f"out-{index}.{kind}",
            Card(
                text=job.text("prompt", ""),
                footer=f"{job.model} · seed {job.seed} · {steps} steps · {index + 1}/{count}",
                width=width,
                height=height,
                kind=kind,
                quality=job.count("output_quality", 80),
                seed=f"{job.id}/{index}",
            ),
        )
        for index in range(count)
    )


def _with_files(
    job: Job, files: tuple[OutputFile, ...], queue_s: float, run_s: float, steps: int
) -> Script:
    urls: list[Json] = [job.file_url(file.name) for file in files]
    shown = tuple(Step(run_s, "output", str(url)) for url in urls)
    return Script(
        queue_s=queue_s,
        run_s=run_s,
        result=urls,
        steps=sampler_logs(job.seed, steps, run_s, len(files)) + shown,
        metrics={"image_count": len(files)},
        files=files,
    )


class FluxSchnell(PlainProgram):
    """black-forest-labs/flux-schnell: up to four pictures in half a second."""

    stream: StreamKind | None = "files"
    output_schema = _PICTURE_LIST
    schema = InputSchema(
        {
            "prompt": string("Prompt for generated image"),
            "aspect_ratio": choice("Shape of the picture", "1:1", ASPECTS),
            "num_outputs": integer("How many pictures", 1, minimum=1, maximum=4),
            "num_inference_steps": integer("Denoising steps", 4, minimum=1, maximum=4),
            "seed": integer("For a picture that can be made again"),
            "output_format": choice("Kind of file", "webp", _KINDS),
            "output_quality": integer("For jpg and webp", 80, minimum=0, maximum=100),
            "disable_safety_checker": boolean("Leave the safety checker out", default=False),
            "go_fast": boolean("Run faster, in lower precision", default=True),
            "megapixels": choice("Size of the picture", "1", ("1", "0.25")),
        },
        required=("prompt",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        steps = job.count("num_inference_steps", 4)
        run_s = job.around(0.16 + 0.1 * steps + 0.05 * (job.count("num_outputs", 1) - 1))
        return _with_files(job, _sampler_pictures(job, 4), 0.4 + 0.3 * job.share("q"), run_s, steps)


class FluxSchnellLora(PlainProgram):
    """lucataco/flux-schnell-lora: a community model with a fine-tuning file."""

    stream: StreamKind | None = "files"
    output_schema = _PICTURE_LIST
    schema = InputSchema(
        {
            "prompt": string("Prompt for generated image"),
            "aspect_ratio": choice("Shape of the picture", "1:1", ASPECTS),
            "image": uri("Picture to begin with"),
            "prompt_strength": number("Weight of the prompt", 0.8, minimum=0, maximum=1),
            "num_outputs": integer("How many pictures", 1, minimum=1, maximum=4),
            "num_inference_steps": integer("Denoising steps", 4, minimum=1, maximum=4),
            "seed": integer("For a picture that can be made again"),
            "output_format": choice("Kind of file", "webp", _KINDS),
            "output_quality": integer("For jpg and webp", 80, minimum=0, maximum=100),
            "disable_safety_checker": boolean("Leave the safety checker out", default=False),
            "hf_lora": string("Fine-tuning file: a Hugging Face name or an address"),
            "lora_scale": number("Weight of the fine-tuning", 0.8, minimum=0, maximum=1),
        },
        required=("prompt",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run; loading the fine-tuning file shows in the logs."""
        steps = job.count("num_inference_steps", 4)
        run_s = job.around(0.8 + 0.25 * steps + 0.3 * (job.count("num_outputs", 1) - 1))
        script = _with_files(job, _sampler_pictures(job, 4), 0.9, run_s, steps)
        lora = job.text("hf_lora", "")
        if not lora:
            return script
        line = Step(0.01 * run_s, "logs", f"Downloading LoRA weights from - HF path: {lora}\n")
        return Script(
            queue_s=script.queue_s,
            run_s=run_s,
            result=script.result,
            steps=(line, *script.steps),
            metrics=script.metrics,
            files=script.files,
        )


class SinglePicture(PlainProgram):
    """Answers one address as a string, not a list."""

    output_schema = _PICTURE
    schema = InputSchema(
        {
            "prompt": string("What the card says"),
            "output_format": choice("Kind of file", "png", _KINDS),
        },
        required=("prompt",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        kind = job.text("output_format", "png")
        card = Card(job.text("prompt", ""), job.model, 512, 512, kind, seed=job.id)
        file = _picture(job, f"output.{kind}", card)
        return Script(
            queue_s=0.2,
            run_s=job.around(0.5),
            result=job.file_url(file.name),
            metrics={"image_count": 1},
            files=(file,),
        )


class HiddenVersion(FluxSchnell):
    """A model whose versions are not published; otherwise like the official picture model."""


class NestedOutput(PlainProgram):
    """Answers an object with addresses at several depths, numbers, texts and null."""

    output_schema = _OBJECT
    schema = InputSchema({"prompt": string("What the cards say")}, required=("prompt",))

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        text = job.text("prompt", "")
        files = tuple(
            _picture(job, name, Card(f"{text}: {name}", job.model, 384, 256, "png", seed=job.id))
            for name in ("cover.png", "mask-0.png", "mask-1.png")
        )
        cover, first, second = (job.file_url(file.name) for file in files)
        result: JsonObject = {
            "cover": cover,
            "masks": [
                {"label": "sky", "score": 0.9712345678901234, "mask": first},
                {"label": "tree", "score": 0.5, "mask": second},
            ],
            "caption": f"A card that says {text!r}; see {cover} for the picture",
            "embedding": [0.125, -1.5e-07, 3],
            "rejected": None,
            "safe": True,
        }
        return Script(0.2, job.around(0.6), result, metrics={"image_count": 3}, files=files)


class ForeignAddress(PlainProgram):
    """Names an output file on somebody else's host: nobody should fetch it."""

    output_schema = _PICTURE_LIST
    schema = InputSchema({"url": uri("The foreign address to answer")})

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        url = job.text("url", "https://files.example.invalid/foreign/out-0.png")
        return Script(0.1, job.around(0.2), [url])


class ImageToImage(PlainProgram):
    """Really fetches the picture it is given, and fails if it cannot: chains can be proved."""

    output_schema = _PICTURE_LIST
    schema = InputSchema(
        {
            "image": uri("Picture to begin with"),
            "prompt": string("What to make of it", ""),
            "output_format": choice("Kind of file", "png", _KINDS),
        },
        required=("image",),
    )

    def fetches(self, job: Job) -> str | None:
        """Return the picture's address."""
        return job.text("image", "")

    def script(self, job: Job) -> Script:
        """Lay out a run; the fetched picture shows in the corner of the new one."""
        run_s = job.around(0.8)
        fetched = job.fetched
        if fetched is None:
            return Script(0.2, run_s)
        if fetched.error is not None:
            note = Step(0.0, "logs", f"Cannot read the input image: {fetched.error}\n")
            return Script(0.2, run_s, error=fetched.error, steps=(note,))
        kind = job.text("output_format", "png")
        card = Card(
            job.text("prompt", "") or "the same picture again",
            job.model,
            768,
            768,
            kind,
            seed=job.id,
            inset=fetched.thumbnail,
        )
        file = _picture(job, f"out-0.{kind}", card)
        said = f"Read {fetched.size} bytes, sha256 {fetched.sha256}\n"
        return Script(
            queue_s=0.2,
            run_s=run_s,
            result=[job.file_url(file.name)],
            steps=(Step(0.0, "logs", said),),
            metrics={"image_count": 1},
            files=(file,),
        )
