"""PostgreSQL's driver is an extra: whoever stays with SQLite need not have it."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]

_WITHOUT = """
import sys

class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "psycopg":
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Hidden())
import gateway.app, gateway.cli, gateway.ledger
print("imported")
"""


def test_everything_but_postgresql_works_without_its_driver() -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "imported", done.stderr
