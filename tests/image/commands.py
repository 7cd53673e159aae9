"""Programs run by the check; one that fails ends it with what it said."""

import subprocess
from collections.abc import Mapping, Sequence

import click


class Failed(Exception):
    """The check failed; the text says at what."""


def run(
    *command: object,
    env: Mapping[str, str] | None = None,
    given: str | None = None,
    within_s: float = 900,
) -> str:
    """Run a program to its end; return what it printed. Raises Failed."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            env=None if env is None else dict(env),
            input=given,
            stdin=subprocess.DEVNULL if given is None else None,
            capture_output=True,
            text=True,
            timeout=within_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise Failed(f"{_short(words)} did not end within {within_s:g} s") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-4000:]
        raise Failed(f"{_short(words)} ended with {done.returncode}:\n{said}")
    return done.stdout


def demand(true: object, promise: str) -> None:
    """Say that a promise is kept, or end the check. Raises Failed."""
    if not true:
        raise Failed(promise)
    click.echo(f"   ok  {promise}")


def _short(words: Sequence[str]) -> str:
    text = " ".join(words)
    return text if len(text) < 200 else f"{text[:200]} …"
