"""Models that leave files other than pictures: large ones, sound, moving pictures, weights."""

from functools import partial

from gateway.simulator.films import draw_film
from gateway.simulator.pictures import MEDIA_TYPES, Card, draw_card, draw_clip
from gateway.simulator.schemas import InputSchema, choice, integer, number, string, uri
from gateway.simulator.scripts import Job, OutputFile, PlainProgram, Script, Step
from gateway.simulator.sounds import draw_tune
from gateway.simulator.wire import Json, JsonObject

_FILE: JsonObject = {"type": "string", "format": "uri", "title": "Output"}
_FILES: JsonObject = {
    "type": "array",
    "items": {"type": "string", "format": "uri"},
    "title": "Output",
}
_OBJECT: JsonObject = {"type": "object", "title": "Output"}
DEFAULT_BYTES = 200_000_000


class LargeFile(PlainProgram):
    """Leaves one file of any size: reproducible random bytes, at any pace."""

    output_schema = _FILE
    schema = InputSchema(
        {
            "size_bytes": integer("Length of the file", DEFAULT_BYTES, minimum=0),
            "bytes_per_second": number("Pace of its delivery; 0 is no limit", 0, minimum=0),
            "name": string("Its name", "output.bin"),
            "content_type": string("Its media type", "application/octet-stream"),
        }
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        file = OutputFile(
            name=job.text("name", "output.bin").replace("/", "_") or "output.bin",
            media_type=job.text("content_type", "application/octet-stream"),
            random_size=job.count("size_bytes", DEFAULT_BYTES),
            trickle_bytes_per_s=job.number("bytes_per_second", 0.0),
        )
        return Script(0.1, job.around(0.3), job.file_url(file.name), files=(file,))


class Speech(PlainProgram):
    """Leaves a WAV file that plays."""

    output_schema = _FILE
    schema = InputSchema(
        {"text": string("What to say"), "seconds": number("Length", 2, minimum=0.25, maximum=30)},
        required=("text",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        seconds = job.number("seconds", 2.0)
        file = OutputFile(
            "speech.wav", "audio/wav", partial(draw_tune, job.text("text", ""), seconds)
        )
        return Script(
            0.2,
            job.around(0.7),
            job.file_url(file.name),
            metrics={"audio_output_duration_seconds": seconds},
            files=(file,),
        )


class Clip(PlainProgram):
    """Leaves a short moving picture, or a film."""

    output_schema = _FILE
    schema = InputSchema(
        {
            "prompt": string("What it shows"),
            "frames": integer("How many pictures", 12, minimum=1, maximum=48),
            "output_format": choice("Kind of file", "gif", ("gif", "webp", "webm")),
        },
        required=("prompt",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        kind = job.text("output_format", "gif")
        card = Card(job.text("prompt", ""), job.model, 320, 180, kind, seed=job.id)
        frames = job.count("frames", 12)
        draw = draw_film if kind == "webm" else draw_clip
        file = OutputFile(f"clip.{kind}", MEDIA_TYPES[kind], partial(draw, card, frames))
        return Script(
            0.3,
            job.around(2.0),
            job.file_url(file.name),
            metrics={"video_output_duration_seconds": round(frames * 0.08, 2)},
            files=(file,),
        )


HOSTILE_CALL = "window.top.hacked = 1"
"""What the files below try to run, where somebody lets them."""

_HOSTILE_SVG = f"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 320 200"
 width="320" height="200" onload="{HOSTILE_CALL}">
<script>{HOSTILE_CALL}</script>
<rect width="320" height="200" fill="#557"/>
<foreignObject width="320" height="80"><body xmlns="http://www.w3.org/1999/xhtml">
<script>{HOSTILE_CALL}</script><img src="x" onerror="{HOSTILE_CALL}"/></body></foreignObject>
<text x="20" y="120" font-size="24" fill="#fff">drawn by a model</text>
</svg>
"""
_HOSTILE_PAGE = f"""<!doctype html><title>made by a model</title>
<script>{HOSTILE_CALL}; alert(document.cookie); document.body.textContent = "ran"</script>
<p id="said">still here</p><img src="x" onerror="{HOSTILE_CALL}">
<form method="post" action="/dashboard/keys"><button>Win</button></form>
"""
_HOSTILE_NAME = "a\"b'c<img src=x onerror=hacked=1>&.png"


class Hostile(PlainProgram):
    """Leaves what should not be let loose: an SVG and a page with script, a name with markup."""

    output_schema = _FILES
    schema = InputSchema({"prompt": string("Any text", "")})

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        picture = Card(job.text("prompt", ""), job.model, 320, 200, "png", seed=job.id)
        files = (
            OutputFile("drawing.svg", "image/svg+xml", _HOSTILE_SVG.encode),
            OutputFile("page.html", "text/html; charset=utf-8", _HOSTILE_PAGE.encode),
            OutputFile(_HOSTILE_NAME, MEDIA_TYPES["png"], partial(draw_card, picture)),
        )
        urls: list[Json] = [job.file_url(file.name) for file in files]
        note = Step(0.1, "logs", f"<script>{HOSTILE_CALL}</script>\n")
        return Script(0.1, job.around(0.2), urls, steps=(note,), files=files)


class Trainer(PlainProgram):
    """Makes weights from training data: run by trainings only."""

    output_schema = _OBJECT
    schema = InputSchema(
        {
            "input_images": uri("A zip of pictures"),
            "trigger_word": string("The word that stands for them", "TOK"),
            "steps": integer("How long to train", 1000, minimum=3, maximum=6000),
        },
        required=("input_images",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run: some seconds, whatever the steps."""
        steps = job.count("steps", 1000)
        run_s = job.around(6.0)
        logs = tuple(
            Step(run_s * share / 4, "logs", f"step {steps * share // 4}/{steps}\n")
            for share in range(1, 4)
        )
        weights = OutputFile("trained_model.tar", "application/x-tar", random_size=1_000_000)
        return Script(
            queue_s=1.0,
            run_s=run_s,
            result={"weights": job.file_url(weights.name)},
            steps=logs,
            files=(weights,),
        )
