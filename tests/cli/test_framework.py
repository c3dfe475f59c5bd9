"""The commands are typer's: parsed, completed and refused by it."""

import subprocess
import sys


def test_the_commands_are_typer_commands() -> None:
    code = "import sys; from mlcli.cli.app import root; root(); sys.exit('typer' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, __doc__


def test_argparse_parses_nothing_here() -> None:
    code = "import sys; import mlcli.cli.job, mlcli.cli.run; sys.exit('argparse' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0, __doc__
