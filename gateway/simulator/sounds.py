"""A few seconds of real sound: a small tune, different for each text."""

import array
import hashlib
import io
import math
import wave

SAMPLES_PER_S = 16_000
_SCALE_HZ = (262.0, 294.0, 330.0, 392.0, 440.0, 523.0, 587.0, 659.0)


def draw_tune(text: str, seconds: float) -> bytes:
    """Return a WAV file, mono, sixteen bits a sample; the same text gives the same bytes."""
    digest = hashlib.sha256(text.encode()).digest()
    note_samples = SAMPLES_PER_S // 4
    samples = array.array("h")
    for index in range(max(1, round(seconds * 4))):
        pitch = _SCALE_HZ[digest[index % len(digest)] % len(_SCALE_HZ)]
        for position in range(note_samples):
            loudness = 9000 * (1 - position / note_samples)
            phase = 2 * math.pi * pitch * position / SAMPLES_PER_S
            samples.append(int(loudness * math.sin(phase)))
    out = io.BytesIO()
    with wave.open(out, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(SAMPLES_PER_S)
        sound.writeframes(samples.tobytes())
    return out.getvalue()
