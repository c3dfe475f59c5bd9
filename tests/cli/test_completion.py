"""Shell completion: what a word may become, asked by a real shell."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from mlcli.cli.completion import SCRIPTS, candidates


def words(line: str) -> list[str]:
    return [value for value, _ in candidates(line.split(" "))]


def test_nouns_verbs_flags_and_formats():
    assert words("")[0] == "job"
    assert words("wor") == ["workspace"]
    assert words("job str") == ["stream"]
    assert {"--file", "--set", "--stream", "--output"} <= set(words("job create --"))
    assert words("job list -o y") == ["yaml", "yamlc"]
    assert words("version --q") == ["--query"]
    assert words("job nothing x") == []
    assert words("nothing x") == []
    assert words("job create --save-as x") == []


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_is_shown_its_script(mlcli, shell):
    shown = mlcli("--show-completion", shell)
    assert (shown.code, shown.stdout) == (0, SCRIPTS[shell])
    assert mlcli("--show-completion", env={"SHELL": f"/usr/bin/{shell}"}).stdout == SCRIPTS[shell]


def test_an_unknown_shell_is_refused_with_the_known_ones(mlcli):
    refused = mlcli("--show-completion", "tcsh")
    assert refused.code == 2
    assert refused.stderr == "error: no completion for the shell 'tcsh'\n\nhint: name one of bash, zsh, fish\n"


def test_installing_writes_one_file_below_the_home_folder(mlcli, tmp_path):
    done = mlcli(
        "--install-completion", "fish", env={"HOME": str(tmp_path), "XDG_CONFIG_HOME": None, "XDG_DATA_HOME": None}
    )
    target = tmp_path / ".config/fish/completions/mlcli.fish"
    assert done.code == 0
    assert target.read_text() == SCRIPTS["fish"]
    assert str(target) in done.stderr


def test_bash_completes(mlcli, tmp_path):
    script = tmp_path / "completion.bash"
    script.write_text(SCRIPTS["bash"])
    asked = f'source {script}; COMP_WORDS=(mlcli job str); COMP_CWORD=2; _mlcli_complete; echo "${{COMPREPLY[*]}}"'
    environment = mlcli.environment({"PATH": f"{_bin()}:/usr/bin:/bin"})
    answer = subprocess.run(
        ["bash", "-c", asked], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert answer.stdout == "stream\n"


@pytest.mark.skipif(shutil.which("zsh") is None, reason="no zsh on this machine")
def test_the_zsh_script_is_zsh(tmp_path):
    script = tmp_path / "_mlcli"
    script.write_text(SCRIPTS["zsh"])
    subprocess.run(["zsh", "-n", str(script)], check=True, timeout=60)


@pytest.mark.skipif(shutil.which("fish") is None, reason="no fish on this machine")
def test_the_fish_script_is_fish(tmp_path):
    script = tmp_path / "mlcli.fish"
    script.write_text(SCRIPTS["fish"])
    subprocess.run(["fish", "-n", str(script)], check=True, timeout=60)


def _bin() -> str:
    from tests.conftest import COMMAND

    return str(COMMAND.parent)
