"""The models that a fresh simulation offers. Tests and examples rely on their names."""

from gateway.simulator.catalogue import Catalogue, Model, Official, Version, version_id
from gateway.simulator.file_programs import Clip, Hostile, LargeFile, Speech, Trainer
from gateway.simulator.picture_programs import (
    FluxSchnell,
    FluxSchnellLora,
    ForeignAddress,
    HiddenVersion,
    ImageToImage,
    NestedOutput,
    SinglePicture,
)
from gateway.simulator.scripts import Program
from gateway.simulator.text_programs import Echo, Failing, HelloWorld, Llama, Queue, Slow

FLUX_SCHNELL = "black-forest-labs/flux-schnell"
FLUX_SCHNELL_LORA = "lucataco/flux-schnell-lora"
LORA_VERSION = "2a6b576af31790b470f0a8442e1e9791213fa13799cbb65a9fc1436e96389574"
LLAMA = "meta/meta-llama-3-8b-instruct"
TRAINER = "ostris/flux-dev-lora-trainer"
HELLO_WORLD = "replicate/hello-world"
HELLO_VERSION = "5c7d5dc6dd8bf75c1acaa8565735e7986bc5b66206b55cca93cb72c9bf15ccaa"
_SHELF_SINCE = 1_714_000_000.0  # spring of 2024

_ODD_ONES: tuple[tuple[str, str, Program], ...] = (
    ("large-file", "One file of any size, at any pace", LargeFile()),
    ("failing", "Runs for a while and fails", Failing()),
    ("queue", "Never starts", Queue()),
    ("slow", "Takes as long as it is told to", Slow()),
    ("nested", "An object with files at several depths", NestedOutput()),
    ("single-picture", "One address as a string", SinglePicture()),
    ("foreign-url", "Names a file on somebody else's host", ForeignAddress()),
    ("speech", "A WAV file that plays", Speech()),
    ("clip", "A short moving picture", Clip()),
    ("hostile", "Files with scripts in them, and a name with markup", Hostile()),
    ("image-to-image", "Really fetches the picture it is given", ImageToImage()),
    ("echo", "Answers its input's value, whatever it is", Echo()),
)


def _cover(delivery_origin: str, name: str) -> str:
    return f"{delivery_origin}/models_models_featured_image/{name}/cover.webp"


def stock(username: str, delivery_origin: str) -> Catalogue:
    """Return a shelf with every kind of model on it."""
    catalogue = Catalogue(username)

    def add(full_name: str, description: str, program: Program, **more: object) -> Model:
        owner, _, name = full_name.partition("/")
        since = _SHELF_SINCE + 86400.0 * len(list(catalogue))
        model = Model(owner, name, description, since)
        model.cover_image_url = _cover(delivery_origin, name)
        model.readme = f"# {name}\n\n{description}.\n"
        model.run_count = 1000 + 37 * len(list(catalogue))
        model.versions = [Version(version_id(full_name), program, since)]
        for field, value in more.items():
            setattr(model, field, value)
        return catalogue.add(model)

    flux = FluxSchnell()
    add(
        FLUX_SCHNELL,
        "The fastest image generation model tailored for local development and personal use",
        flux,
        official=Official(flux, "dp-4d0bcc010b3049749a251855f12800be"),
        collection="text-to-image",
        github_url="https://github.com/replicate/cog-flux",
        example_input={"prompt": "black forest gateau cake spelling out the words FLUX SCHNELL"},
    )
    add(
        FLUX_SCHNELL_LORA,
        "FLUX.1-Schnell LoRA Explorer",
        FluxSchnellLora(),
        versions=[Version(LORA_VERSION, FluxSchnellLora(), _SHELF_SINCE)],
        collection="text-to-image",
        example_input={"prompt": "frstingln illustration", "hf_lora": "alvdansen/frosting_lane"},
    )
    llama = Llama()
    add(
        LLAMA,
        "An 8 billion parameter language model from Meta, fine tuned for chat completions",
        llama,
        official=Official(
            llama,
            "d-7f3a1c5be2d94c0f8a6e9b1240d3c857",
            "replicate-internal/llama-3-8b-instruct-int8-triton",
        ),
        collection="language-models",
        example_input={"prompt": "Tell me a joke"},
    )
    add(
        HELLO_WORLD,
        "A tiny model that says hello",
        HelloWorld(),
        versions=[Version(HELLO_VERSION, HelloWorld(), _SHELF_SINCE, "0.3.0")],
        example_input={"text": "Alice"},
    )
    lora = FluxSchnellLora()
    add(
        TRAINER,
        "Trains a fine-tuning file from a zip of pictures",
        lora,
        versions=[Version(version_id(TRAINER), lora, _SHELF_SINCE, trainer=Trainer())],
    )
    for name, description, program in _ODD_ONES:
        add(f"simulated/{name}", description, program, official=Official(program, "hidden"))
    hidden = HiddenVersion()
    add(
        "simulated/hidden-version",
        "Publishes no versions",
        hidden,
        official=Official(hidden, "hidden"),
        versions=[],
    )
    add(f"{username}/private-pictures", "Only for the account itself", flux, visibility="private")
    add(f"{username}/fine-tune", "A place for trainings to push to", flux, visibility="private")
    add("somebody-else/secret", "Not to be seen", flux, visibility="private")
    return catalogue
