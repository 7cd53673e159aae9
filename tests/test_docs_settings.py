"""The pages about the settings say what the code does."""

import re
import tomllib
from pathlib import Path

import pytest

from docs.generate import PAGES, ROOT
from gateway.settings import Settings, describe, load

FILE = ROOT / "config" / "gateway.toml"
_COMMENTED = re.compile(r"^# (?=\w+ = |\[\S+\]$|  \{ |\]$)", re.MULTILINE)


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_generated_pages_are_fresh(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == PAGES[path](), "stale: run `make docs`"


def test_the_shipped_file_as_it_is_means_the_defaults() -> None:
    assert load(FILE, {}) == Settings()


def test_the_shipped_file_holds_every_key_with_its_default(tmp_path: Path) -> None:
    everything = tmp_path / "gateway.toml"
    text = _COMMENTED.sub("", FILE.read_text(encoding="utf-8"))
    everything.write_text(text, encoding="utf-8")
    tree = tomllib.loads(text)
    for setting in describe():
        if "[]" in setting.section:
            continue
        table = tree
        for part in re.findall(r'"[^"]+"|[^.]+', setting.section):
            name = {"NAME": next(iter(table)), '"PATTERN"': next(iter(table))}.get(part, part)
            table = table[name]
        expected = tomllib.loads(f"value = {setting.example}")["value"]
        assert table[setting.key] == expected, f"{setting.section}.{setting.key}"
    settings = load(everything, {})
    assert set(settings.plans) == {"default", "trial"}
    assert settings.server == Settings().server
    assert settings.upstream == Settings().upstream


def test_every_setting_says_what_it_is_for() -> None:
    for setting in describe():
        where = f"{setting.section}.{setting.key}"
        assert setting.help.endswith("."), where
        assert setting.type, where
        assert setting.unit or not re.search(r"_(s|ms|bytes|days|per_minute)$", setting.key), where


def test_every_variable_of_the_documentation_sets_its_key() -> None:
    for setting in describe():
        if setting.variable and setting.default is not None:
            text = tomllib.loads(f"value = {setting.default}")["value"]
            written = ",".join(text) if isinstance(text, list) else str(text).lower()
            name = setting.variable.replace("<name>", "DEFAULT")
            if setting.section != "teams.NAME":
                assert load(FILE, {name: written}) == Settings(), name
