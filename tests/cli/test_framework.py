"""NOTE FROM THE LEAD to whoever works on mlcli/cli: typer is FIXED by the project's charter ("Fixed: Python; typer, ...; Typer commands").

Commit 88ff5ee (argparse instead of typer) must be undone: put the typer tree of its parent back (git show 88ff5ee^:mlcli/cli/command.py etc.),
keep everything that was added since (completion, help texts, reference), stay within --help <= 8x, validate <= 20x, create --stream <= 25x of
`python -c pass` (typer's import is about 5.5x, so there is room). A hand-made layer over argparse is own code where a well-kept library serves.
Shell completion is typer's own. Then replace this docstring by one line and keep the test.
"""

import subprocess
import sys


def test_the_commands_are_typer_commands() -> None:
    code = "import sys; from mlcli.cli.app import root; root(); sys.exit('typer' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, __doc__


def test_argparse_parses_nothing_here() -> None:
    code = "import sys; import mlcli.cli.job, mlcli.cli.run; sys.exit('argparse' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, __doc__
