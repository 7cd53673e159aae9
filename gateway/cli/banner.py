"""What `serve` and `demo` say when they are ready: where they are, and what to type now."""

import os
import shlex
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import gateway
from gateway.app import trust_lines
from gateway.cli.commands import PROGRAM
from gateway.settings import Settings

_WIDTH = 78
_ANYWHERE = frozenset({"0.0.0.0", "::", ""})
PICTURE = "picture.webp"
_TO_TRY = (
    "meta/meta-llama-3-8b-instruct",
    "black-forest-labs/flux-schnell",
    "simulated/image-to-image",
    "simulated/failing",
    "simulated/slow",
)


def base_url(settings: Settings) -> str:
    """Return what clients put in the place of https://api.replicate.com."""
    server = settings.server
    if server.public_url:
        return f"{server.public_url}/replicate"
    host = "localhost" if server.host in _ANYWHERE else server.host
    scheme = "http" if server.tls.mode == "off" else "https"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{server.port}/replicate"


def program() -> str:
    """Return how this program is called from this folder, for lines to paste."""
    python = Path(sys.executable)
    script = python.with_name(PROGRAM)
    if shutil.which(PROGRAM) == str(script):
        return PROGRAM
    return _short(script) if script.exists() else f"{_short(python)} -m gateway"


def _short(path: Path) -> str:
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def lines_to_paste(url: str, key: str) -> str:
    """Return two lines that make a prediction and save its picture.

    A blocking answer may carry the picture itself, as a `data:` URI, where another carries a link:
    the second line takes either.
    """
    data = '{"input": {"prompt": "a lighthouse at dawn"}}'
    script = (
        "import json, urllib.request as web; "
        f'print(web.urlretrieve(json.load(open("answer.json"))["output"][0], "{PICTURE}")[0])'
    )
    return (
        f"curl -sS --fail-with-body {url}/v1/models/black-forest-labs/flux-schnell/predictions"
        " -o answer.json"
        f" -H 'Authorization: Bearer {key}' -H 'Content-Type: application/json'"
        f" -H 'Prefer: wait' -d '{data}'\n"
        f"python3 -c '{script}'"
    )


def same_ledger(config_file: Path | None, env: Mapping[str, str]) -> tuple[str, str]:
    """Return what stands before and after the program's name so that it means the same ledger.

    Whoever pastes the lines does so in another shell, without this one's variables.
    """
    names = ("GATEWAY_CONFIG", "GATEWAY_STORAGE__DATA_DIR")
    before = "".join(f"{name}={shlex.quote(env[name])} " for name in names if env.get(name))
    after = "" if config_file is None else f" --config {shlex.quote(str(config_file))}"
    return before, after


def ready(
    settings: Settings,
    *,
    users: bool,
    config_file: Path | None = None,
    env: Mapping[str, str] | None = None,
) -> str:
    """Say that the gateway serves; without any user, how to make one."""
    lines = [f"{PROGRAM} {gateway.__version__} is ready. Base URL: {base_url(settings)}"]
    lines += _trust(settings)
    if not users:
        before, after = same_ledger(config_file, env or {})
        name = f"{before}{program()}{after}"
        lines += [
            "",
            "There are no users yet. These two commands make one, and print a key:",
            "",
            f"{name} users add alice",
            f"{name} keys create alice",
        ]
    return "\n".join(lines) + "\n"


def _trust(settings: Settings) -> list[str]:
    """Tell how clients come to trust a private authority; nothing where there is none."""
    lines = trust_lines(settings)
    if not lines:
        return []
    return [
        "",
        "Clients trust it after these lines; on other machines, with a copy of the file:",
        "",
        *lines,
    ]


def demo_ready(settings: Settings, folder: Path, key: str) -> str:
    """Say that a demo serves, that nothing in it is real, and what to type now."""
    rule = "=" * _WIDTH
    url = base_url(settings)
    name = program()
    return "\n".join(
        [
            rule,
            "  SIMULATED REPLICATE - no real model is run, and nothing is paid for.",
            "  Pictures and texts are drawn by this program; only the API is as in reality.",
            "  With a real account: REPLICATE_API_TOKEN=r8_... in front of the command.",
            rule,
            "",
            f"  Base URL   {url}",
            f"  User key   {key}",
            f"  Its data   {folder}{os.sep}",
            *_trust(settings),
            "",
            f"Paste this into another terminal; it makes a picture, {PICTURE}:",
            "",
            lines_to_paste(url, key),
            "",
            f"Models to try: {', '.join(_TO_TRY)}",
            "",
            "To look at this demo's data (without the variable: at the real data):",
            "",
            f"GATEWAY_STORAGE__DATA_DIR={folder} {name} predictions list",
            "",
        ]
    )
