"""The pages for users: what they tell to type works, and they name everything that there is."""

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.generate import ROOT
from gateway.cli.root import root
from gateway.domain.problem_examples import markdown as errors_page
from gateway.metrics import definitions
from tests.support.process import Processes, processes
from tests.support.tools import program

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIAL = ROOT / "docs" / "tutorial.ja.md"
README = ROOT / "README.md"
JS = ROOT / "tests" / "clients" / "js"
LANGCHAIN = ROOT / "tests" / "clients" / "langchain" / ".venv" / "bin" / "python"
CURL = "curl --silent --show-error --fail-with-body"
_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

pytestmark = pytest.mark.xdist_group("documentation")


def blocks(page: Path, language: str) -> list[str]:
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [text for kind, text in found if kind == language]


@pytest.fixture(scope="module")
def gateway() -> Iterator[Processes]:
    with processes("[upstream]\npoll_interval_ms = 100\n", speed=4) as both:
        yield both


@pytest.fixture(scope="module")
def key(gateway: Processes) -> str:
    return gateway.add_user("reader")


def typed(lines: str, folder: Path, **variables: str) -> str:
    """Run what a page says in a shell, and return what it prints."""
    environment = {"PATH": os.environ["PATH"], "no_proxy": "*", **variables}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", lines],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, f"{lines}\n{done.stderr}"
    return done.stdout


def test_every_command_of_the_tutorial_works_as_it_stands(
    gateway: Processes, key: str, tmp_path: Path
) -> None:
    commands = blocks(TUTORIAL, "sh")
    assert len(commands) == 8
    known: dict[str, str] = {}
    said = ""
    for command in commands:
        text = command.replace("{{BASE_URL}}", gateway.url).replace("hk-your-key", key)
        if "--output " in text:
            known["OUTPUT"] = output_of(gateway, key, known["ID"])
        for name, value in known.items():
            text = text.replace("{{" + name + "}}", value)
        assert "{{" not in text
        said = typed(text.replace("curl ", f"{CURL} ", 1), tmp_path)
        if "--output " in text:
            assert (tmp_path / "picture.jpg").read_bytes()[:2] in (b"\xff\xd8", b"RI")
            continue
        document = json.loads(said)
        if "--data" in text:
            assert document["status"] in {"starting", "processing", "succeeded"}
            known["ID"] = document["id"]
            if "Prefer: wait" in text:
                assert document["output"]
            else:
                assert document["urls"]["get"].startswith(f"{gateway.base}/v1/predictions/")
        elif "/predictions/" in text:
            assert document["id"] == known["ID"]
    listed = json.loads(said)
    assert listed, "the last command tells the limits"


def output_of(gateway: Processes, key: str, prediction: str) -> str:
    """The first output of a prediction, when it has ended."""
    with gateway.client(key) as client:
        output: list[str] = gateway.finished(client, prediction).json()["output"]
    return output[0]


def test_the_tutorial_promises_links_that_last_and_names_no_address_of_replicate_to_call() -> None:
    text = TUTORIAL.read_text(encoding="utf-8")
    assert "リンクは切れません" in text
    for command in blocks(TUTORIAL, "sh"):
        assert "replicate.com" not in command
        if "Authorization" in command:
            assert "Bearer hk-your-key" in command


def test_the_curl_sample_works(gateway: Processes, key: str, tmp_path: Path) -> None:
    (sample,) = [text for text in blocks(README, "sh") if "$KEY" in text]
    said = typed(here(sample, gateway, key), tmp_path, KEY=key)
    assert "results" in json.loads(said)


def here(sample: str, gateway: Processes, key: str) -> str:
    """The sample, with this gateway's address and a key where the page has an ellipsis."""
    return sample.replace("http://127.0.0.1:8080", gateway.url).replace("hk-…", key)


def sample_of(language: str, sign: str) -> str:
    (found,) = [text for text in blocks(README, language) if sign in text]
    return found


def test_the_python_sample_saves_a_picture(gateway: Processes, key: str, tmp_path: Path) -> None:
    script = tmp_path / "sample.py"
    script.write_text(here(sample_of("python", "import replicate\n"), gateway, key))
    typed(f"{sys.executable} sample.py", tmp_path)
    assert (tmp_path / "picture.webp").read_bytes()[8:12] == b"WEBP"


@pytest.mark.node
@pytest.mark.parametrize("sign", ['from "replicate"', '"@ai-sdk/replicate"'])
def test_the_javascript_samples_save_a_picture(
    gateway: Processes, key: str, tmp_path: Path, sign: str
) -> None:
    module = re.search(r'"(.*)"', sign)
    assert module is not None
    if not (JS / "node_modules" / module[1]).exists():
        pytest.skip(f"{module[1]} is not installed: run .ci/tools")
    (tmp_path / "node_modules").symlink_to(JS / "node_modules")
    (tmp_path / "sample.mjs").write_text(here(sample_of("js", sign), gateway, key))
    typed(f"{program('node')} sample.mjs", tmp_path)
    assert (tmp_path / "picture.webp").read_bytes()[8:12] == b"WEBP"


@pytest.mark.skipif(not LANGCHAIN.exists(), reason="LangChain is not installed: run .ci/tools")
def test_the_langchain_sample_answers(gateway: Processes, key: str, tmp_path: Path) -> None:
    (tmp_path / "sample.py").write_text(sample_of("python", "langchain_community"))
    pointed = {"REPLICATE_BASE_URL": gateway.base, "REPLICATE_API_TOKEN": key}
    assert "You said 'Name'" in typed(f"{LANGCHAIN} -W ignore sample.py", tmp_path, **pointed)


def commands(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    ctx = click.Context(group)
    for name in group.list_commands(ctx):
        command = group.get_command(ctx, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name)


def test_every_command_is_on_the_page_of_commands() -> None:
    text = (ROOT / "docs" / "commands.md").read_text(encoding="utf-8")
    for path in commands(root):
        assert f"`{' '.join(path)}" in text, path


def test_commands_on_the_pages_exist() -> None:
    known = set(commands(root))
    groups = {path[0] for path in known if len(path) == 2}
    for page in PAGES:
        for line in "\n".join(blocks(page, "sh")).splitlines():
            found = re.search(r"(?:^|/|\$\(|`| )replicate-gateway ((?:[a-z-]+ ?){1,2})", line)
            if found is None or "docker run" in line or "docker build" in line:
                continue
            words = tuple(shlex.split(found[1])[:2])
            path = words if words[:1] and words[0] in groups else words[:1]
            if path and path[0] in {"python", "apt"}:
                continue
            assert path in known, f"{page.name}: {line}"


def test_every_metric_and_error_is_on_its_page() -> None:
    metrics = (ROOT / "docs" / "metrics.md").read_text(encoding="utf-8")
    for definition in definitions.ALL:
        assert definition.name in metrics
    assert (ROOT / "docs" / "errors.md").read_text(encoding="utf-8") == errors_page()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", text):
        name, _, heading = target.partition("#")
        file = (page.parent / name) if name else page
        assert file.exists(), target
        if heading:
            headings = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in {anchor(each) for each in headings}, target


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
