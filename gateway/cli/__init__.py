"""The command line: it talks to people, and starts what serves them.

One module for each group of commands. Results go to stdout, talk goes to stderr; a command ends
with 0 when it is done, 1 when it failed and 2 when it was misused.
"""

from gateway.cli.root import main

__all__ = ["main"]
