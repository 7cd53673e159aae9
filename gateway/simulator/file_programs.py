"""Models that leave files other than pictures: large ones, sound, moving pictures, weights."""

from functools import partial

from gateway.simulator.pictures import MEDIA_TYPES, Card, draw_clip
from gateway.simulator.schemas import InputSchema, choice, integer, number, string, uri
from gateway.simulator.scripts import Job, OutputFile, PlainProgram, Script, Step
from gateway.simulator.sounds import draw_tune
from gateway.simulator.wire import JsonObject

_FILE: JsonObject = {"type": "string", "format": "uri", "title": "Output"}
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
    """Leaves a short moving picture."""

    output_schema = _FILE
    schema = InputSchema(
        {
            "prompt": string("What it shows"),
            "frames": integer("How many pictures", 12, minimum=1, maximum=48),
            "output_format": choice("Kind of file", "gif", ("gif", "webp")),
        },
        required=("prompt",),
    )

    def script(self, job: Job) -> Script:
        """Lay out a run."""
        kind = job.text("output_format", "gif")
        card = Card(job.text("prompt", ""), job.model, 320, 180, kind, seed=job.id)
        frames = job.count("frames", 12)
        file = OutputFile(f"clip.{kind}", MEDIA_TYPES[kind], partial(draw_clip, card, frames))
        return Script(
            0.3,
            job.around(2.0),
            job.file_url(file.name),
            metrics={"video_output_duration_seconds": round(frames * 0.08, 2)},
            files=(file,),
        )


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
