"""The entry point: exit codes, errors as text, streams that close."""

from __future__ import annotations

import subprocess

import pytest

from mlcli import __version__
from mlcli.cli import app
from mlcli.cli.main import main
from mlcli.domain.errors import Diagnostic, InvalidSpecError, MlcliError, NotFoundError, Place
from tests.conftest import COMMAND


@pytest.mark.parametrize("flag", ["--version", "-V"])
def test_the_version(mlcli, flag):
    shown = mlcli(flag)
    assert (shown.code, shown.stdout, shown.stderr) == (0, f"mlcli {__version__}\n", "")


def test_the_version_as_a_record(mlcli):
    assert mlcli("version").json["mlcli"] == __version__
    assert mlcli("version", "--query", "mlcli", "-o", "tsv").stdout == f"{__version__}\n"


HEAVY = {"rich", "jsonschema", "ruamel.yaml", "httpx", "jmespath", "pydantic", "asyncio", "importlib.metadata"}


@pytest.mark.parametrize(
    ("arguments", "more"),
    [
        (["--version"], {"typer", "dataclasses", "json"}),
        (["--help"], {"typer", "dataclasses", "json"}),
        (["job", "create", "--help"], {"sqlite3"}),
        (["job", "list"], set()),
        (["version", "-o", "tsv"], {"sqlite3"}),
    ],
)
def test_a_command_imports_nothing_that_it_does_not_need(mlcli, arguments, more):
    shown = mlcli(*arguments, env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in shown.stderr.splitlines()}
    assert "mlcli.cli.main" in imported
    assert imported & (HEAVY | more) == set()


def test_a_wrong_noun_is_wrong_usage(mlcli):
    refused = mlcli("jbo", "list")
    assert refused.code == 2
    assert refused.stdout == ""
    assert refused.stderr == "error: there is no command 'jbo' in 'mlcli'\n\nhint: did you mean 'mlcli job'?\n"


def fail_with(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> None:
    def run(_arguments: list[str]) -> int:
        raise error

    monkeypatch.setattr(app, "run", run)


def test_an_error_of_ours_has_place_details_and_hint(monkeypatch, capfd):
    error = NotFoundError(
        "there is no x", hint="make one", place=Place("job.yml", 3, 5), details=("looked here", "and \x1b[2Jthere")
    )
    fail_with(monkeypatch, error)
    assert main(["x"]) == 3
    assert capfd.readouterr() == (
        "",
        "error: job.yml:3:5: there is no x\n  looked here\n  and \\x1b[2Jthere\n\nhint: make one\n",
    )


def test_every_diagnostic_of_a_file_is_shown(monkeypatch, capfd):
    found = tuple(Diagnostic(Place("job.yml", line, 1), "unknown-key", f"no key {line}") for line in (2, 9))
    fail_with(monkeypatch, InvalidSpecError(found))
    assert main(["x"]) == 1
    shown = capfd.readouterr().err
    assert "job.yml:2:1: error[unknown-key]: no key 2" in shown
    assert "job.yml:9:1: error[unknown-key]: no key 9" in shown


def test_a_defect_is_told_without_a_traceback(monkeypatch, capfd):
    fail_with(monkeypatch, ZeroDivisionError("division by zero"))
    assert main(["job", "list"]) == 1
    shown = capfd.readouterr().err
    assert shown.startswith("error: internal error: ZeroDivisionError: division by zero\n")
    assert "--debug" in shown
    assert "Traceback" not in shown


def test_a_traceback_is_shown_to_who_asks(monkeypatch, capfd):
    fail_with(monkeypatch, MlcliError("no"))
    assert main(["job", "list", "--debug"]) == 1
    assert "Traceback" in capfd.readouterr().err


def test_the_machine_says_no(monkeypatch, capfd):
    fail_with(monkeypatch, PermissionError(13, "Permission denied", "/some/file"))
    assert main(["x"]) == 1
    assert capfd.readouterr().err.startswith("error: /some/file: Permission denied\n")


def test_ctrl_c(monkeypatch, capfd):
    fail_with(monkeypatch, KeyboardInterrupt())
    assert main(["x"]) == 130
    assert capfd.readouterr().err == "interrupted: by Ctrl-C\n"


def test_a_reader_that_goes_away_is_no_error(mlcli):
    process = mlcli.start("version")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert stderr.read() == b""
    assert process.wait(60) == 141


def test_a_full_disk_below_standard_output(mlcli):
    with open("/dev/full", "wb") as full:
        process = mlcli.start("version", stdout=full)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert errors.startswith(b"error: No space left on device")


def test_no_standard_output_at_all(mlcli):
    done = subprocess.run(
        ["bash", "-c", '"$0" version -o json >&-', str(COMMAND)],
        env=mlcli.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    "environment", [{"LC_ALL": "C"}, {"LC_ALL": "POSIX", "PYTHONUTF8": "0"}, {"PYTHONIOENCODING": "latin-1"}]
)
def test_any_locale(mlcli, environment):
    shown = mlcli("version", "--query", "'Grün 緑'", env=environment)
    assert (shown.code, shown.stdout) == (0, '"Grün 緑"\n')
    assert mlcli("job", "show", "-n", "緑\x1b[0m", env=environment).code in {2, 3}


def test_colour_only_on_a_terminal_that_wants_it(mlcli):
    assert "\x1b[" not in mlcli("version", "-o", "jsonc").stdout
    assert "\x1b[" in mlcli("version", "-o", "jsonc", tty=True).stdout
    assert "\x1b[" in mlcli("version", "-o", "yamlc", tty=True).stdout
    assert "\x1b[" not in mlcli("version", "-o", "json", tty=True).stdout
    assert "\x1b[" not in mlcli("version", "-o", "jsonc", tty=True, env={"NO_COLOR": "1"}).stdout
    assert mlcli("nothing", tty=True).stderr.startswith("\x1b[1;31merror\x1b[0m: ")
    assert mlcli("nothing", tty=True, env={"NO_COLOR": "1"}).stderr.startswith("error: ")


def test_a_person_sees_a_view_and_a_pipe_gets_json(mlcli):
    assert mlcli("version").json["mlcli"] == __version__
    seen = mlcli("version", tty=True, env={"TERM": "dumb"}).stdout
    assert seen.splitlines()[0].split() == ["Mlcli", __version__]
    assert mlcli("version", "--query", "mlcli", tty=True, env={"NO_COLOR": "1"}).stdout == f'"{__version__}"\n'


def test_nothing_is_printed_for_a_result_of_nothing_or_by_wish(mlcli):
    assert mlcli("version", "--query", "missing").stdout == ""
    assert mlcli("version", "-o", "none").stdout == ""


def test_every_format(mlcli):
    query = "{name: mlcli, yes: `true`}"
    shown = {
        form: mlcli("version", "--query", query, "-o", form).stdout for form in ("json", "yaml", "tsv", "table", "JSON")
    }
    assert shown == {
        "json": f'{{\n  "name": "{__version__}",\n  "yes": true\n}}\n',
        "JSON": f'{{\n  "name": "{__version__}",\n  "yes": true\n}}\n',
        "yaml": f"name: {__version__}\nyes: true\n",
        "tsv": f"{__version__}\tTrue\n",
        "table": f"Name   Yes\n-----  ----\n{__version__}  True\n",
    }


def test_a_query_that_cannot_be_applied(mlcli):
    refused = mlcli("version", "--query", "length(`1`)")
    assert refused.code == 2
    assert refused.stderr.startswith("error: --query: ")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_standard_stream_is_no_trouble(mlcli, closed):
    file = mlcli.cwd / "job.yml"
    file.write_text("command: echo hello\nenvironment: current\n")
    create = f'"{COMMAND}" job create -f job.yml -n closed --stream'
    done = subprocess.run(
        ["bash", "-c", f'{create} {closed}; echo "code $?"; "{COMMAND}" job delete closed {closed}; echo "code $?"'],
        env=mlcli.environment(),
        cwd=mlcli.cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    told = done.stdout.splitlines()
    assert [line for line in told if line.startswith("code")] == ["code 0", "code 2"], done.stderr
    assert "internal error" not in done.stderr
    assert mlcli("job", "show", "closed").json["status"] == "Completed"
