"""Writes the pages that are made from definitions in the code, so that they cannot go stale.

``python -m docs.generate`` rewrites all of them; a test fails when one differs from the code.
"""

import textwrap
from collections.abc import Callable, Mapping
from pathlib import Path

from docs.commands import commands_page
from gateway.domain.problem_examples import markdown as errors_page
from gateway.metrics.reference import markdown as metrics_page
from gateway.settings import SectionDoc, SettingDoc, describe_sections, starting_prices

ROOT = Path(__file__).resolve().parent.parent
_WIDTH = 100

_FILE_HEAD = """\
# Configuration of replicate-gateway.
#
# Every key is here with its default; take the "# " away before a key to change it. A key that is
# wrong or unknown stops the start with a line that says what would be right; to look before:
#
#     replicate-gateway config check
#
# Any key can be set by a variable of the environment instead: GATEWAY_<SECTION>__<KEY>, for example
# GATEWAY_SERVER__PORT=9000. Plans, teams and prices are read again on SIGHUP or by
# "replicate-gateway config reload"; the rest takes a restart.
"""

_PLAN_EXAMPLE = """\
# Further plans are tables of their own; users and teams name them. An example:
#
# [plans.trial]
# models_allow = ["black-forest-labs/*", "meta/*"]
# concurrent_predictions = 4
# quotas = [
#   { metric = "predictions", limit = 200, per = "day" },
#   { metric = "cost_usd", limit = 20, per = "month", models = ["meta/*"], scope = "team" },
# ]
"""

# How the tables whose names the operator chooses stand in the file.
_HEADERS = {
    "plans.NAME": "[plans.default]",
    "teams.NAME": "# [teams.research]",
    'prices."PATTERN"': '# [prices."owner/name"]',
}

_PAGE_HEAD = """\
# Configuration

<!-- Made from gateway/settings by `make docs`; changes here are overwritten. -->

The gateway starts without any configuration but Replicate's token:

```sh
REPLICATE_API_TOKEN=r8_… make serve
```

Everything else has a default. The file is found by `--config FILE`, else by the variable
`GATEWAY_CONFIG`, else it is `config/gateway.toml` in the folder where the gateway is started.
[config/gateway.toml](../config/gateway.toml) holds every key with its default, to be uncommented.

- **Environment.** Any key can be set by a variable, which beats the file: `GATEWAY_`, the section,
  two underscores, the key. Lists are written with commas or as JSON:
  `GATEWAY_SERVER__TRUSTED_PROXIES=10.0.0.0/8,192.168.1.5`. Names of plans and teams in a variable
  are read in lower case. `REPLICATE_API_TOKEN` sets `upstream.token`, and
  `GATEWAY_UPSTREAM__TOKEN` beats that.
- **Faults.** Unknown keys, wrong types and impossible values stop the start; all are reported
  together, one line each, with what would be right. `replicate-gateway config check` does only
  that.
- **In force.** `replicate-gateway config show` prints what file and environment come to, with
  secrets masked.
- **Changing it.** Plans, teams and prices are read again on `SIGHUP` to the serving process or by
  `replicate-gateway config reload`, for all workers and machines; the rest takes a restart.
"""


def configuration_page() -> str:
    """Return ``docs/configuration.md``."""
    lines = [_PAGE_HEAD]
    for section in describe_sections():
        lines += [f"## `[{section.name}]`" if "[]" not in section.name else _rule_title(section)]
        lines += ["", section.help, ""]
        lines += ["| key | type | default | what it is for |", "| --- | --- | --- | --- |"]
        lines += [_row(setting) for setting in section.settings]
        lines.append("")
    return "\n".join(lines)


def _rule_title(section: SectionDoc) -> str:
    return f"### Rules in `{section.name.removesuffix('[]')}`"


def _row(setting: SettingDoc) -> str:
    kind = setting.type.replace("|", "\\|")
    unit = f", {setting.unit}" if setting.unit else ""
    if '"' in kind:
        kind = " or ".join(f"`{choice}`" for choice in kind.split(" or "))
    default = f"`{setting.default}`" if setting.default is not None else "none"
    return f"| `{setting.key}` | {kind}{unit} | {default} | {setting.help} |"


def configuration_file() -> str:
    """Return ``config/gateway.toml``."""
    sections = [_section(each) for each in describe_sections() if "[]" not in each.name]
    return "\n".join([_FILE_HEAD, *sections])


def _section(section: SectionDoc) -> str:
    help_text = section.help
    if section.name.startswith("prices"):
        help_text += " The numbers below show the form only."
    header = _HEADERS.get(section.name, f"[{section.name}]")
    lines = [_comment(help_text), *(["#"] if header.startswith("#") else []), header, ""]
    for setting in section.settings:
        lines += _setting(setting)
    if section.name == "plans.NAME":
        lines.append(_PLAN_EXAMPLE)
    if section.name.startswith("prices"):
        lines.append(_shipped_prices())
    return "\n".join(lines).rstrip() + "\n"


def _shipped_prices() -> str:
    """List the prices that hold until the file says something else."""
    lines = [
        "# These prices are shipped with the gateway (gateway/settings/prices.toml). They are",
        "# estimates, and hold for a model as long as no pattern of this file matches its name.",
    ]
    for model, starting in starting_prices().items():
        price = starting.price.model_dump(exclude_defaults=True)
        lines += ["#", f"# {starting.source} (read: {starting.read})", f'# [prices."{model}"]']
        lines += [f"# {key} = {amount:f}" for key, amount in price.items()]
    return "\n".join(lines) + "\n"


def _setting(setting: SettingDoc) -> list[str]:
    none = " [no default]" if setting.default is None else ""
    line = f"# {setting.key} = {setting.example}"
    return [_comment(setting.help + none), line, ""]


def _comment(text: str) -> str:
    return textwrap.fill(text.replace("`", ""), _WIDTH, initial_indent="# ", subsequent_indent="# ")


# What is written, and where.
PAGES: Mapping[Path, Callable[[], str]] = {
    ROOT / "docs" / "commands.md": commands_page,
    ROOT / "docs" / "configuration.md": configuration_page,
    ROOT / "docs" / "errors.md": errors_page,
    ROOT / "docs" / "metrics.md": metrics_page,
    ROOT / "config" / "gateway.toml": configuration_file,
}


def main() -> None:
    """Write every page."""
    for path, render in PAGES.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(render(), encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
