"""The official Python client's second version, a pre-release, from an environment of its own."""

import json
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.clients.conftest import Run, installed
from tests.clients.examples import FLUX, LORA, LORA_VERSION

pytestmark = pytest.mark.xdist_group("other clients")

FOLDER = Path(__file__).parent / "py2"


@pytest.fixture(scope="module")
def png() -> bytes:
    target = BytesIO()
    Image.new("RGB", (32, 32), "red").save(target, "PNG")
    return target.getvalue()


@pytest.mark.parametrize("shape", ["/v1", ""])
def test_everything_works_with_both_shapes_of_the_base_url(
    run: Run, base: str, key: str, png: bytes, tmp_path: Path, shape: str
) -> None:
    (tmp_path / "square.png").write_bytes(png)
    said = run(
        str(installed(FOLDER / ".venv", "bin/python")),
        "job.py",
        cwd=FOLDER,
        env={
            "REPLICATE_BASE_URL": base + shape,
            "REPLICATE_API_TOKEN": key,
            "LORA": f"{LORA}:{LORA_VERSION}",
            "TMPDIR": str(tmp_path),
        },
        given=tmp_path / "square.png",
    )
    found: dict[str, Any] = json.loads(said)
    assert found["version"] == "2.0.0-beta.4"
    assert found["run"]["blocking"] == "ffd8ff"
    assert found["run"]["polled"].startswith(f"{base}/delivery/")
    assert found["run"]["version"] == "WEBP"
    assert found["run"]["words"].startswith("You said 'Tell':")
    assert len(found["use"]["said"]) == 12
    assert found["use"]["head"] == "89504e47"
    assert found["use"]["chained"] == 1
    assert found["use"]["streamed"].startswith("You said 'Tell':")
    assert found["sse"] == {"status": 200, "done": True}
    assert found["files"].pop("url").startswith(f"{base}/v1/files/")
    assert found["files"] == {
        "size": len(png),
        "listed": True,
        "predictions": ["succeeded", "succeeded"],
        "gone": True,
    }
    assert found["trainings"] == {"status": "canceled", "listed": True}
    assert found["asynchronous"].startswith("You said 'Tell':")
    others = found["others"]
    assert (others["cancelled"], others["mine"]) == ("canceled", True)
    assert others["account"]
    assert FLUX in others["searched"]
    assert others["secret"] == "whsec_"
    assert others["deployment"] == "flux-fast"
    assert "prompt is required" in others["refused"]
    assert others["refused_in"] < 5
