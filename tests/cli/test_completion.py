"""Shell completion: typer's own, quick, and it knows the names of jobs."""

from __future__ import annotations

import subprocess

import pytest

from tests.conftest import COMMAND, Mlcli


def completed(mlcli: Mlcli, line: str) -> list[str]:
    """What the last word of the line may become, asked as bash asks."""
    words = line.split(" ")
    asked = {"_MLCLI_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(words) - 1)}
    answer = mlcli(env=asked)
    assert answer.code == 0
    assert answer.stderr == ""
    return answer.stdout.split()


def test_nouns_verbs_flags_and_formats(mlcli):
    assert completed(mlcli, "mlcli ")[0] == "job"
    assert completed(mlcli, "mlcli wor") == ["workspace"]
    assert completed(mlcli, "mlcli job str") == ["stream"]
    assert {"--file", "--set", "--stream", "--output"} <= set(completed(mlcli, "mlcli job create --"))
    assert completed(mlcli, "mlcli job list -o y") == ["yaml", "yamlc"]
    assert completed(mlcli, "mlcli version --q") == ["--query"]
    assert completed(mlcli, "mlcli job nothing x") == []
    assert completed(mlcli, "mlcli job create --save-as x") == []


def test_what_is_ignored_is_not_offered(mlcli):
    assert completed(mlcli, "mlcli job show --sub") == []


def test_a_workspace_that_cannot_be_opened_has_no_names(mlcli):
    assert completed(mlcli, "mlcli job show -w ../x a") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_has_a_script(mlcli, shell):
    shown = mlcli(env={"_MLCLI_COMPLETE": f"source_{shell}"})
    assert shown.code == 0
    assert f"complete_{shell}" in shown.stdout


def test_bash_completes(mlcli, tmp_path):
    """The script that typer writes for bash, run by bash."""
    environment = mlcli.environment({"PATH": f"{COMMAND.parent}:/usr/bin:/bin", "_MLCLI_COMPLETE": "source_bash"})
    script = subprocess.run(
        [str(COMMAND)], env=environment, capture_output=True, text=True, timeout=60, check=True
    ).stdout
    del environment["_MLCLI_COMPLETE"]
    path = tmp_path / "completion.bash"
    path.write_text(script)
    function = next(line.split()[-2] for line in script.splitlines() if line.startswith("complete "))
    asked = (
        f'source {path}; COMP_WORDS=(mlcli job str); COMP_CWORD=2; {function} mlcli str job; echo "${{COMPREPLY[*]}}"'
    )
    answer = subprocess.run(
        ["bash", "-c", asked], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout == "stream\n"
