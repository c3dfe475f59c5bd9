"""Values of environment variables and credentials in addresses reach the command, and nobody who looks over its shoulder."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.faults.helpers import Jobs, until, wait_for
from tests.faults.servers import SlowServer

SECRET = "hunter2-correct-horse"
KEPT = {"job.json", "plan.json"}  # 0600: what was asked for, which a supervisor needs to carry on


def files_with(jobs: Jobs, secret: str) -> set[str]:
    return {
        path.name
        for path in jobs.mlcli.home.rglob("*")
        if path.is_file() and not path.is_symlink() and secret.encode() in path.read_bytes()
    }


def arguments_with(secret: str) -> list[str]:
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        if secret.encode() in line:
            found.append(line.decode(errors="replace"))
    return found


def only_where_it_belongs(jobs: Jobs, name: str) -> None:
    assert arguments_with(SECRET) == []
    assert files_with(jobs, SECRET) <= KEPT
    for file in KEPT:
        assert (jobs.folder(name) / file).stat().st_mode & 0o077 == 0
    assert jobs.folder(name).stat().st_mode & 0o077 == 0


def test_values_of_variables(jobs: Jobs, slow_server: SlowServer, tmp_path: Path) -> None:
    """While the run is prepared, while it runs, and when it has failed."""
    given = {"data": {"type": "uri_file", "path": slow_server.url("data.txt"), "mode": "download"}}
    check = f'[ "$API_KEY" = {SECRET[:7]}-"correct-horse" ] && echo has it'
    file = jobs.file(
        f"{check}; {until(tmp_path / 'go')}; exit 3",
        name="mine",
        inputs=given,
        environment_variables={"API_KEY": SECRET},
    )
    assert jobs.mlcli("job", "create", "-f", file).code == 0
    slow_server.wait_for_request()
    only_where_it_belongs(jobs, "mine")
    slow_server.open()
    jobs.says("mine", "has it")
    wait_for(lambda: not (jobs.folder("mine") / "launch.json").exists())
    only_where_it_belongs(jobs, "mine")
    (tmp_path / "go").touch()
    followed = jobs.mlcli("job", "stream", "-n", "mine", "--debug")
    assert followed.code == 1
    assert SECRET not in followed.stdout + followed.stderr
    jobs.settled()
    only_where_it_belongs(jobs, "mine")


@pytest.mark.parametrize("fault", ["bad\0value", "bad\ud800value"])
def test_a_value_that_no_program_can_be_given(jobs: Jobs, fault: str) -> None:
    file = jobs.file("true", name="mine", environment_variables={"API_KEY": SECRET + fault})
    told = jobs.mlcli("job", "create", "-f", file, "--stream", "--debug", "-o", "none")
    assert told.code == 1
    assert SECRET not in told.stdout + told.stderr
    assert "Traceback" not in told.stderr.replace("Traceback", "", 1)
    assert files_with(jobs, SECRET) <= KEPT


@pytest.mark.parametrize("slow_server", [404], indirect=True)
def test_credentials_of_an_address(jobs: Jobs, slow_server: SlowServer) -> None:
    """Refused by the server: the reason is told everywhere, the credentials nowhere."""
    slow_server.open()
    address = f"{slow_server.url('data.csv', credentials=f'me:{SECRET}@')}?sig={SECRET}"
    given = {"data": {"type": "uri_file", "path": address, "mode": "download"}}
    name = jobs.create("cat ${{inputs.data}}", inputs=given)
    followed = jobs.mlcli("job", "stream", "-n", name, "--debug")
    assert followed.code == 1
    assert "404" in followed.stderr
    assert SECRET not in followed.stdout + followed.stderr
    assert files_with(jobs, SECRET) <= KEPT
    record = jobs.show(name)
    assert "404" in record["status_message"]
    assert SECRET not in record["status_message"]
    jobs.settled()


def test_what_the_shell_has_around_it_is_written_nowhere(jobs: Jobs) -> None:
    made = jobs.mlcli("job", "create", "-f", jobs.file("env > /dev/null", name="mine"), "-s", env={"API_KEY": SECRET})
    assert made.code == 0, made.stderr
    assert files_with(jobs, SECRET) == set()
