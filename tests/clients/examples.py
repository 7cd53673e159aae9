"""The two requests that users are given as examples."""

PROMPT = (
    "Japanese cartoon anime style, (1 person) (Gender: Male, Age: 30, Hair: Short black hair, "
    "Outfit: Dark blue hunting attire, includes a fitted jacket and trousers.)"
)

FLUX = "black-forest-labs/flux-schnell"
FLUX_INPUT: dict[str, object] = {
    "prompt": PROMPT,
    "go_fast": True,
    "megapixels": "1",
    "num_outputs": 1,
    "aspect_ratio": "1:1",
    "output_format": "jpg",
    "output_quality": 80,
    "num_inference_steps": 4,
}

LORA = "lucataco/flux-schnell-lora"
LORA_VERSION = "2a6b576af31790b470f0a8442e1e9791213fa13799cbb65a9fc1436e96389574"
LORA_INPUT: dict[str, object] = {
    "prompt": PROMPT,
    "hf_lora": "alvdansen/frosting_lane_flux",
    "lora_scale": 0.8,
    "num_outputs": 1,
    "aspect_ratio": "1:1",
    "output_format": "webp",
    "output_quality": 80,
    "prompt_strength": 0.8,
    "num_inference_steps": 4,
}
