"""What a serving process does not load: its memory is paid for by every worker."""

import subprocess
import sys

SELDOM_NEEDED = {"alembic", "cryptography", "gateway.simulator", "PIL", "psycopg"}
LOADED = "import sys, gateway.cli.serve; print(*sys.modules)"


def test_serving_loads_no_large_library_that_only_few_settings_or_commands_need() -> None:
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED], capture_output=True, text=True, check=True
    ).stdout.split()

    assert "gateway.app.assembly" in loaded
    assert SELDOM_NEEDED & set(loaded) == set()
