"""`doctor`: whether everything around the gateway is as it must be, and what to do where not."""

import asyncio
import sys
from pathlib import Path

import click

from gateway.app import checkup, trust_lines
from gateway.app.checkup import Finding, Point, Verdict
from gateway.app.checkup_network import Network
from gateway.app.trust import CA_FILE, ca_folder
from gateway.cli.commands import PROGRAM, Command, as_json, say
from gateway.cli.demo_data import demo_folder, demo_runs
from gateway.cli.output import print_json, print_table
from gateway.cli.session import Session, with_session
from gateway.settings import Storage, process_environment

_NO_TOKEN = "is not asked without a token"  # noqa: S105 - what is said, not a token
_SIGNS = {
    Verdict.OK: "✓ ok",
    Verdict.NOTE: "! note",
    Verdict.FAILED: "✗ failed",
    Verdict.SKIPPED: "- skipped",
}


@click.command("doctor", cls=Command, example=f"{PROGRAM} doctor && echo all is well")
@as_json
@with_session
def doctor(session: Session, as_json: bool) -> None:
    """Examine the set-up: Replicate, token, clock, disk, ledger, addresses, certificates.

    Each point that is not well says what to do. Exit status 1 if any failed. Works beside a running
    gateway, and needs one for the points that are about reaching it.
    """
    session.use_upstream()
    settings = session.settings
    # The demo's own folder is what its banner has one look at.
    folders = (demo_folder(settings), settings.storage.data_dir)
    folder = next((one for one in folders if demo_runs(one)), folders[0])
    has_token = bool(settings.upstream.token.get_secret_value())
    beside_demo = not has_token and demo_runs(folder)
    if beside_demo:  # what runs here keeps its data there
        settings = settings.model_copy(update={"storage": Storage(data_dir=folder)})
    file = process_environment().get("SSL_CERT_FILE")
    network = Network(settings, session.clock, Path(file) if file else None)
    far = network.points()[:3] if has_token else _without_token(network, folder, beside_demo)
    points = [*far, *checkup.local(settings, session.clock)]
    points += network.points()[3:]
    findings = asyncio.run(checkup.look(points))
    lines = trust_lines(settings) if (ca_folder(settings) / CA_FILE).exists() else []
    broken = sum(finding.verdict is Verdict.FAILED for finding in findings)
    if as_json:
        print_json(
            {
                "ok": broken == 0,
                "configuration": session.source,
                "checks": [_record(finding) for finding in findings],
                "trust": lines,
            }
        )
    else:
        _print(findings, lines, session.source)
    if broken:
        sys.exit(1)


def _without_token(network: Network, folder: Path, beside_demo: bool) -> list[Point]:
    """Ask nothing of Replicate: without a token a gateway would not either."""

    async def upstream() -> Finding:
        said = f"a demo is running on {folder}: its Replicate is simulated"
        return Finding("upstream", Verdict.SKIPPED, said if beside_demo else _NO_TOKEN)

    async def token() -> Finding:
        if not beside_demo:
            return await network.token()
        cure = "for the real Replicate set REPLICATE_API_TOKEN (or upstream.token)"
        return Finding("token", Verdict.NOTE, "none is set, and the demo needs none", cure)

    async def time() -> Finding:
        return Finding("clock", Verdict.SKIPPED, "nothing to compare it with")

    return [upstream, token, time]


def _print(findings: list[Finding], lines: list[str], source: str) -> None:
    click.echo(f"Configuration: {source}\n")
    rows = [[finding.point, _SIGNS[finding.verdict], _told(finding)] for finding in findings]
    print_table(["point", "result", "what was found"], rows)
    if lines:
        click.echo("\nClients on this machine trust the gateway after these lines:\n")
        click.echo("\n".join(lines))
    broken = [finding.point for finding in findings if finding.verdict is Verdict.FAILED]
    say(f"\nNot well: {', '.join(broken)}." if broken else "\nAll is well.")


def _told(finding: Finding) -> str:
    return f"{finding.detail}; {finding.cure}" if finding.cure else finding.detail


def _record(finding: Finding) -> dict[str, str]:
    return {
        "name": finding.point,
        "status": finding.verdict.value,
        "detail": finding.detail,
        "cure": finding.cure,
    }
