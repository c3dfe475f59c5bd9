"""A job's life, typed as a person or a script types it. Every job here runs for real, on this machine."""

from __future__ import annotations

import shlex
import signal
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from tests.cli.test_completion import completed
from tests.conftest import COMMAND, Mlcli, Result


def job_file(folder: Path, command: str, name: str = "job.yml", **extra: Any) -> Path:
    """A job file that runs ``command`` with the interpreter of whoever runs the tests."""
    path = folder / name
    with path.open("w", encoding="utf-8") as stream:
        YAML(typ="safe", pure=True).dump(
            {"command": command, "environment": "current", "compute": "local", **extra}, stream
        )
    return path


def create(mlcli: Mlcli, command: str, *flags: str, **extra: Any) -> str:
    """The name of a new job."""
    made = mlcli("job", "create", "-f", job_file(mlcli.cwd, command, **extra), *flags, "--query", "name", "-o", "tsv")
    assert made.code == 0, made.stderr
    return made.stdout.strip()


def finished(mlcli: Mlcli, command: str, *flags: str, **extra: Any) -> str:
    """The name of a new job that has ended, as it may."""
    file = job_file(mlcli.cwd, command, **extra)
    done = mlcli("job", "create", "-f", file, *flags, "--stream", "--query", "name", "-o", "tsv")
    assert done.stdout, done.stderr
    return done.stdout.split()[-1]


def held(folder: Path) -> tuple[str, Path]:
    """A command that says that it has started and waits until the file exists; at the latest it ends by itself."""
    gate = folder / "gate"
    wait = f"for i in $(seq 600); do [ -e {shlex.quote(str(gate))} ] && break; sleep 0.1; done"
    return f"echo started; {wait}; echo done", gate


def names(result: Result) -> list[str]:
    assert result.code == 0, result.stderr
    return [row["name"] for row in result.json]


def test_create_answers_with_the_record_at_once_and_the_job_completes(mlcli):
    made = mlcli(
        "job", "create", "-f", job_file(mlcli.cwd, "echo hello", experiment_name="first", tags={"stage": "trial"})
    )
    assert made.code == 0, made.stderr
    record = made.json
    assert record["experiment_name"] == "first"
    assert record["tags"] == {"stage": "trial"}
    waited = mlcli("job", "wait", record["name"], "--timeout", "2m")
    assert waited.code == 0
    assert waited.json["status"] == "Completed"
    assert waited.json["exit_code"] == 0


def test_stream_prints_the_log_byte_for_byte_and_then_the_record(mlcli):
    file = job_file(mlcli.cwd, r"printf 'a\r\000\377\n'; echo to stderr >&2; sleep 0.2; printf last")
    done = mlcli("job", "create", "-f", file, "--stream", "--query", "status")
    assert done.code == 0, done.stderr
    assert done.output == b'a\r\x00\xff\nto stderr\nlast\n"Completed"\n'
    silent = mlcli("job", "create", "-f", file, "-s", "-o", "none", "--only-show-errors")
    assert (silent.output, silent.stderr) == (b"a\r\x00\xff\nto stderr\nlast", "")


def test_a_job_that_fails_ends_the_stream_with_1_and_says_why(mlcli):
    file = job_file(mlcli.cwd, "echo before; echo the reason >&2; exit 3")
    failed = mlcli("job", "create", "-f", file, "--name", "bad_luck", "--stream")
    assert failed.code == 1
    assert failed.stdout.startswith("before\nthe reason\n{\n")
    assert "error: job bad_luck failed: the command exited with code 3\n" in failed.stderr
    assert "  the reason\n" in failed.stderr
    assert "mlcli job show -n bad_luck" in failed.stderr
    again = mlcli("job", "stream", "-n", "bad_luck")
    assert (again.code, again.stdout) == (1, "before\nthe reason\n")


@pytest.mark.parametrize("verb", [["create", "--stream", "-f", "job.yml"], ["stream", "-n", "bad"], ["wait", "bad"]])
def test_the_jobs_own_exit_code_is_handed_on(mlcli, verb):
    job_file(mlcli.cwd, "exit 42")
    if verb[0] != "create":
        finished(mlcli, "exit 42", "-n", "bad")
    assert mlcli("job", *verb, "--propagate-exit-code").code == 42
    assert mlcli("job", *verb).code == 1


def test_a_job_comes_from_standard_input_with_values_set(mlcli):
    text = job_file(
        mlcli.cwd, "echo ${{inputs.who}} ${{inputs.count}}", inputs={"who": "nobody", "count": 1}
    ).read_text()
    done = mlcli(
        "job",
        "create",
        "-f",
        "-",
        "--set",
        "inputs.who=a b",
        "inputs.count=2",
        "-n",
        "piped",
        "-s",
        "-o",
        "none",
        input=text,
    )
    assert (done.code, done.stdout) == (0, "a b 2\n")
    assert mlcli("job", "show", "piped", "--query", "status", "-o", "tsv").stdout == "Completed\n"


def test_a_name_is_taken_once(mlcli):
    finished(mlcli, "true", "-n", "mine")
    refused = mlcli("job", "create", "-f", "job.yml", "--name", "mine")
    assert refused.code == 1
    assert "mine" in refused.stderr
    assert names(mlcli("job", "list")) == ["mine"]


def test_save_as_keeps_the_job_as_it_was_submitted(mlcli):
    name = finished(mlcli, "echo hi", "--set", "display_name=Saved", "--save-as", "saved.yml")
    saved = YAML(typ="safe", pure=True).load((mlcli.cwd / "saved.yml").read_text())
    assert saved["name"] == name
    assert saved["display_name"] == "Saved"
    assert mlcli("job", "validate", "-f", "saved.yml").code == 0


def test_a_job_that_is_saved_in_another_folder_is_the_same_job(mlcli):
    (mlcli.cwd / "src").mkdir()
    (mlcli.cwd / "src" / "main.py").touch()
    (mlcli.cwd / "a.csv").write_text("1\n")
    (mlcli.cwd / "env.yml").write_text("conda_file: conda.yml\nimage: python\n")
    (mlcli.cwd / "conda.yml").write_text("dependencies: [python=3.11]\n")
    file = job_file(
        mlcli.cwd,
        "cat ${{inputs.a}}; ls; echo ${{outputs.here}} ${{inputs.n}}",
        code="src",
        inputs={"a": {"type": "uri_file", "path": "a.csv"}, "n": 3},
        outputs={"here": {"path": "./out"}, "kept": {"type": "uri_file"}},
        environment="file:env.yml",
    )
    (mlcli.cwd / "away").mkdir()

    def planned(file: Path, *flags: str) -> dict[str, Any]:
        made = mlcli("job", "create", "-f", file, "-n", "one", "--dry-run", *flags)
        plan: dict[str, Any] = made.json
        assert (made.code, plan["refusals"]) == (0, []), made.stderr
        return plan

    assert planned(file, "--save-as", "away/job.yml") == planned(mlcli.cwd / "away" / "job.yml")


def test_a_dry_run_shows_the_plan_and_sends_nothing(mlcli):
    file = job_file(mlcli.cwd, "echo ${{inputs.x}}", inputs={"x": "it's"})
    planned = mlcli("job", "create", "-f", file, "--dry-run")
    assert planned.code == 0
    assert shlex.split(planned.json["command"]) == ["echo", "it's"]
    assert names(mlcli("job", "list")) == []


def test_a_plan_that_cannot_be_carried_out_is_shown_with_what_keeps_it_and_never_sent(mlcli):
    file = job_file(mlcli.cwd, "true")
    shown = mlcli("job", "create", "-f", file, "--set", "compute=gpu-cluster", "--dry-run")
    assert shown.code == 0
    assert shown.json["compute"] == "gpu-cluster"
    refused = mlcli("job", "create", "-f", file, "--set", "compute=gpu-cluster")
    assert refused.code == 1
    for answer in (shown, refused):
        assert "gpu-cluster" in answer.stderr
        assert "--set compute=local" in answer.stderr
    assert names(mlcli("job", "list")) == []


def test_the_scripts_of_az_work(mlcli):
    """The documents' own loop, with ``az ml`` read as ``mlcli``."""
    job_file(mlcli.cwd, "echo 1 > outputs/model.txt")
    script = """
        set -e
        run_id=$(mlcli job create -f job.yml --query name -o tsv)
        mlcli job show -n $run_id --web
        mlcli job stream -n $run_id
        status=$(mlcli job show -n $run_id --query status -o tsv)
        if [[ $status == "Completed" ]]; then mlcli job download -n $run_id --outputs >&2; else exit 9; fi
        cat $run_id/outputs/model.txt
    """
    import subprocess

    environment = mlcli.environment({"PATH": f"{COMMAND.parent}:/usr/bin:/bin"})
    done = subprocess.run(
        ["bash", "-c", script], cwd=mlcli.cwd, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\n1\n")


def test_a_job_that_does_not_exist(mlcli):
    finished(mlcli, "true", "-n", "calm_harbor")
    for verb in ("show", "stream", "cancel", "download", "wait", "archive", "delete"):
        missing = mlcli("job", verb, "-n", "calm_habor")
        assert missing.code == 3, verb
        assert missing.stdout == ""
        assert "calm_habor" in missing.stderr
        assert "calm_harbor" in missing.stderr


def test_a_file_that_does_not_exist_names_the_nearest(mlcli):
    job_file(mlcli.cwd, "true", name="train.yml")
    missing = mlcli("job", "create", "-f", "trian.yml")
    assert missing.code == 3
    assert missing.stderr == "error: there is no file trian.yml\n\nhint: did you mean train.yml?\n"
    folder = mlcli("job", "create", "-f", ".")
    assert folder.code == 1
    assert "train.yml" in folder.stderr


def test_a_wrong_file_is_told_line_by_line(mlcli):
    (mlcli.cwd / "wrong.yml").write_text("comand: echo\nenvironment: current\ninputs:\n  x: {typo: 1}\n")
    for verb in ("create", "validate"):
        refused = mlcli("job", verb, "-f", "wrong.yml")
        assert refused.code == 1
        assert "wrong.yml:1:1: error[unknown-key]" in refused.stderr
        assert "did you mean" in refused.stderr
    verdict = mlcli("job", "validate", "wrong.yml").json
    assert verdict["valid"] is False
    assert {"line", "column", "path", "code", "message", "hint"} <= set(verdict["errors"][0])


def test_validate_takes_files_and_folders(mlcli):
    folder = mlcli.cwd / "jobs"
    (folder / ".hidden").mkdir(parents=True)
    job_file(folder, "true", name="a.yml")
    job_file(folder, "true", name="b.yaml")
    job_file(folder / ".hidden", "true", name="c.yml")
    one = job_file(mlcli.cwd, "true", name="one.yml")
    checked = mlcli("job", "validate", "-f", one, "jobs")
    assert checked.code == 0, checked.stderr
    assert [Path(verdict["file"]).name for verdict in checked.json] == ["one.yml", "a.yml", "b.yaml"]
    assert mlcli("job", "validate", "jobs", "-o", "table").stdout.splitlines()[0].split()[:2] == ["File", "Valid"]


def test_list_filters_and_says_when_there_is_more(mlcli):
    finished(mlcli, "true", "-n", "a", experiment_name="one", tags={"stage": "final"})
    finished(mlcli, "false", "-n", "b", experiment_name="one")
    finished(mlcli, "true", "-n", "c", experiment_name="two", tags={"stage": "trial"})
    assert names(mlcli("job", "list")) == ["c", "b", "a"]
    assert names(mlcli("job", "list", "--status", "completed")) == ["c", "a"]
    assert names(mlcli("job", "list", "--status", "Failed,Canceled")) == ["b"]
    assert names(mlcli("job", "list", "--experiment", "one")) == ["b", "a"]
    assert names(mlcli("job", "list", "--tag", "stage")) == ["c", "a"]
    assert names(mlcli("job", "list", "--tag", "stage=final")) == ["a"]
    assert names(mlcli("job", "list", "--since", "1h", "--compute", "azureml:local")) == ["c", "b", "a"]
    assert names(mlcli("job", "list", "--until", "1h")) == []
    first = mlcli("job", "list", "--max-results", "2")
    assert names(first) == ["c", "b"]
    assert first.stderr == "only the newest 2 are shown: --max-results N shows more, --all-results every one\n"
    assert mlcli("job", "list", "-r", "2", "--only-show-errors").stderr == ""
    assert mlcli("job", "list", "-r", "3").stderr == ""
    assert names(mlcli("job", "list", "--all-results")) == ["c", "b", "a"]
    assert (
        mlcli("job", "list", "--query", "[].[name, status]", "-o", "tsv").stdout
        == "c\tCompleted\nb\tFailed\na\tCompleted\n"
    )
    headings = mlcli("job", "list", "-o", "table").stdout.splitlines()[0]
    assert headings.replace("Created on", "Created").split() == [
        "Name",
        "Status",
        "Experiment",
        "Compute",
        "Type",
        "Created",
    ]


def test_update_changes_what_a_person_may_change(mlcli):
    name = finished(mlcli, "true", tags={"stage": "trial"})
    changed = mlcli(
        "job", "update", "-n", name, "--set", "tags.stage=final", "display_name=The one", "--add", "tags.by=me"
    )
    assert changed.code == 0, changed.stderr
    assert changed.json["tags"] == {"stage": "final", "by": "me"}
    assert mlcli("job", "show", name).json["display_name"] == "The one"
    assert mlcli("job", "update", name, "--remove", "tags.by").json["tags"] == {"stage": "final"}
    assert mlcli("job", "update", name).code == 2
    assert mlcli("job", "update", name, "--set", "status=Completed").code == 2


def test_tags_given_at_once_are_all_kept(mlcli):
    name = finished(mlcli, "true")
    wanted = {f"tag_{number}": "x" for number in range(6)}
    commands = [mlcli.start("job", "update", name, "--set", f"tags.{tag}=x", "-o", "none") for tag in wanted]
    told = [(command.communicate(timeout=120)[1], command.returncode) for command in commands]
    assert {code for _, code in told} == {0}, told
    assert mlcli("job", "show", name).json["tags"] == wanted


def test_archived_jobs_are_hidden_until_they_are_restored(mlcli):
    finished(mlcli, "true", "-n", "a")
    finished(mlcli, "true", "-n", "b")
    assert mlcli("job", "archive", "a").code == 0
    assert names(mlcli("job", "list")) == ["b"]
    assert names(mlcli("job", "list", "--archived-only")) == ["a"]
    assert names(mlcli("job", "list", "--include-archived")) == ["b", "a"]
    assert mlcli("job", "restore", "-n", "a").code == 0
    assert names(mlcli("job", "list")) == ["b", "a"]


def test_deleting_asks_first(mlcli):
    finished(mlcli, "true", "-n", "a")
    assert mlcli("job", "delete", "-n", "a").code == 2
    assert mlcli("job", "delete", "-n", "a", tty=True, input="n\n").code == 1
    assert names(mlcli("job", "list")) == ["a"]
    gone = mlcli("job", "delete", "-n", "a", tty=True, input="y\n")
    assert gone.code == 0
    assert "Delete a with logs and outputs?" in gone.stderr
    assert names(mlcli("job", "list")) == []


def test_delete_and_prune_without_asking(mlcli):
    for name in ("a", "b", "c"):
        finished(mlcli, "false" if name == "b" else "true", "-n", name)
    assert mlcli("job", "prune", "--status", "Failed", "--dry-run").json["runs"] == ["b"]
    assert names(mlcli("job", "list")) == ["c", "b", "a"]
    assert mlcli("job", "prune", "--keep-last", "1").code == 2
    assert mlcli("job", "prune", "--keep-last", "1", "--yes").json["runs"] == ["b", "a"]
    assert mlcli("job", "prune", "--older-than", "30d", "-y").json["runs"] == []
    assert mlcli("job", "delete", "c", "-y").stderr.startswith("deleted c: ")
    assert names(mlcli("job", "list")) == []


def test_a_running_job_is_waited_for_and_cancelled(mlcli, until):
    command, _ = held(mlcli.cwd)
    name = create(mlcli, command)
    until(lambda: mlcli("job", "show", name, "--query", "status", "-o", "tsv").stdout == "Running\n")
    late = mlcli("job", "wait", name, "--timeout", "0.1s")
    assert late.code == 1
    assert name in late.stderr
    assert mlcli("job", "delete", name, "-y").code == 1
    assert mlcli("job", "cancel", "-n", name).json["status"] in {"CancelRequested", "Canceled"}
    ended = mlcli("job", "wait", name, "--timeout", "2m")
    assert ended.code == 1
    assert ended.json["status"] == "Canceled"
    assert f"job {name} was cancelled" in ended.stderr
    assert mlcli("job", "cancel", name).json["status"] == "Canceled"


def test_ctrl_c_stops_the_following_and_not_the_job(mlcli, interrupt):
    command, gate = held(mlcli.cwd)
    process = mlcli.start("job", "create", "-f", job_file(mlcli.cwd, command), "-n", "goes_on", "--stream")
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    interrupt(process)
    _, messages = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: job goes_on goes on" in messages.decode()
    assert "mlcli job stream -n goes_on" in messages.decode()
    assert "mlcli job cancel -n goes_on" in messages.decode()
    assert mlcli("job", "show", "goes_on").json["status"] == "Running"
    gate.touch()
    assert mlcli("job", "stream", "goes_on").stdout == "started\ndone\n"


def test_a_reader_that_has_seen_enough_leaves_the_job_running(mlcli):
    command, gate = held(mlcli.cwd)
    name = create(mlcli, command)
    process = mlcli.start("job", "stream", name)
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    process.stdout.close()
    gate.touch()
    assert process.stderr is not None
    with process.stderr as stderr:
        assert b"Traceback" not in stderr.read()
    assert process.wait(60) == 141
    assert mlcli("job", "wait", name, "--timeout", "2m").json["status"] == "Completed"


def test_download_fetches_outputs_and_logs(mlcli):
    command = "echo model > outputs/model.txt; echo named > ${{outputs.extra}}/file.txt; echo log"
    command += (
        "; mkdir -p ../artifacts ../models/m-1/artifacts; touch ../artifacts/plot.png ../models/m-1/artifacts/MLmodel"
    )
    name = finished(mlcli, command, outputs={"extra": {"type": "uri_folder"}})
    fetched = mlcli("job", "download", "-n", name, "--all", "--download-path", "results")
    assert fetched.code == 0, fetched.stderr
    top = mlcli.cwd / "results" / name
    assert (top / "outputs/model.txt").read_text() == "model\n"
    assert (top / "user_logs/std_log.txt").read_text() == "log\n"
    assert (top / "named-outputs/extra/file.txt").read_text() == "named\n"
    assert (top / "artifacts/plot.png").exists()
    assert (top / "models/m-1/artifacts/MLmodel").exists()
    logged = mlcli("job", "download", name, "--artifacts", "-p", "two").json
    assert [Path(path).name for path in logged["written"]] == ["artifacts", "models"]
    only = mlcli("job", "download", name, "--output-name", "extra", "-p", "one").json
    assert [Path(path).name for path in only["written"]] == ["extra"]
    unknown = mlcli("job", "download", name, "--output-name", "extr")
    assert unknown.code == 3
    assert "extra" in unknown.stderr


def test_an_output_with_a_path_of_its_own_is_where_it_was_asked_for(mlcli):
    name = finished(mlcli, "echo x > ${{outputs.away}}/x.txt", outputs={"away": {"path": "results"}})
    assert (mlcli.cwd / "results" / "x.txt").read_text() == "x\n"
    refused = mlcli("job", "download", name, "--output-name", "away")
    assert (refused.code, refused.stdout) == (1, "")
    assert str(mlcli.cwd / "results") in refused.stderr


def test_the_older_names_do_the_same(mlcli):
    name = finished(mlcli, "echo hello; echo x > outputs/x", experiment_name="old")
    finished(mlcli, "true")
    assert mlcli("run", "show", "-r", name, "-e", "old", "--path", ".").json["name"] == name
    assert len(names(mlcli("run", "list", "--last", "1"))) == 1
    assert names(mlcli("run", "list", "-e", "old", "--status", "Completed", "--minimal")) == [name]
    assert mlcli("run", "monitor-logs", "-r", name).stdout == "hello\n"
    assert mlcli("run", "update", "--run", name, "--add-tag", "a=1", "b=2").json["tags"] == {"a": "1", "b": "2"}
    assert mlcli("run", "download-logs", "-r", name, "-d", "logs").code == 0
    assert (mlcli.cwd / "logs" / name / "user_logs/std_log.txt").read_text() == "hello\n"
    assert mlcli("run", "download", "-r", name, "-d", "all").code == 0
    assert (mlcli.cwd / "all" / name / "outputs/x").read_text() == "x\n"
    assert mlcli("run", "cancel", "-r", name).json["status"] == "Completed"


def test_the_workspace_is_shown_and_its_index_rebuilt(mlcli, until):
    assert mlcli("workspace", "create", "team").code == 0
    finished(mlcli, "true", "-n", "a", "-w", "team")
    shown = mlcli("workspace", "show", "-n", "team").json
    assert (shown["name"], shown["jobs"], shown["live_jobs"]) == ("team", 1, 0)
    assert mlcli("workspace", "show").json["jobs"] == 0
    create(mlcli, "echo ended", "-n", "b", "-w", "team")
    ended = mlcli.home / "workspaces" / "team" / "runs" / "b" / "exit.json"
    until(ended.exists)
    assert mlcli("workspace", "show", "-n", "team").json["live_jobs"] == 0
    assert mlcli("workspace", "reindex", "-w", "team").json == {"name": "team", "jobs": 2, "problems": []}
    assert names(mlcli("job", "list", "--workspace-name", "team")) == ["b", "a"]


def test_a_shell_completes_job_names(mlcli):
    finished(mlcli, "true", "-n", "calm_harbor")
    assert mlcli("workspace", "create", "team").code == 0
    finished(mlcli, "true", "-n", "calm_other", "-w", "team")
    assert completed(mlcli, "mlcli job show -n cal") == ["calm_harbor"]
    assert completed(mlcli, "mlcli job stream ") == ["calm_harbor"]
    assert completed(mlcli, "mlcli job show -w team calm") == ["calm_other"]


def test_a_person_at_a_terminal_sees_views(mlcli):
    terminal = {"tty": True, "env": {"TERM": "dumb"}}
    file = job_file(mlcli.cwd, "echo hello", tags={"note": "\x1b[31m"})
    made = mlcli("job", "create", "-f", file, "-n", "seen", **terminal)
    assert made.stdout.startswith("seen  ")
    assert "mlcli job stream -n seen" in made.stdout
    mlcli("job", "wait", "seen")
    listed = mlcli("job", "list", **terminal).stdout.splitlines()
    assert listed[0].split() == ["Name", "Status", "Experiment", "Compute", "Created", "Took"]
    assert listed[1].split()[:2] == ["seen", "Completed"]
    shown = mlcli("job", "show", "seen", **terminal).stdout
    assert "\x1b" not in shown
    assert "note = \\x1b[31m" in shown
    streamed = mlcli("job", "create", "-f", file, "-n", "followed", "--stream", **terminal)
    assert streamed.stdout.startswith("hello\nfollowed  Completed")
    assert mlcli("job", "show", "seen", "-o", "json", **terminal).json["name"] == "seen"
    for arguments in (
        ["job", "validate", file],
        ["job", "create", "-f", file, "--dry-run"],
        ["workspace", "show"],
        ["workspace", "reindex"],
        ["job", "prune", "--dry-run", "--status", "Completed"],
        ["job", "download", "seen"],
        ["job", "cancel", "seen", "followed"],
    ):
        view = mlcli(*arguments, **terminal)
        assert view.code == 0, view.stderr
        assert view.stdout.strip()
        assert not view.stdout.startswith(("{", "["))


@pytest.mark.parametrize("flags", [(), ("-o", "none")])
def test_what_follows_a_log_on_a_terminal_starts_on_a_line_of_its_own(mlcli, flags):
    file = job_file(mlcli.cwd, "printf 'no line break'; exit 3")
    assert mlcli("job", "create", "-f", file, "-n", "a", "-s", *flags, tty=True).stdout.startswith("no line break\n")
    assert mlcli("job", "stream", "a", tty=True).stdout == "no line break\n"
    assert mlcli("job", "stream", "a").output == b"no line break"


def test_flags_before_the_command_are_told_where_they_belong(mlcli):
    refused = mlcli("-o", "table", "job", "list")
    assert (refused.code, "follow the command" in refused.stderr) == (2, True)


def test_web_says_that_there_is_no_page(mlcli):
    made = mlcli("job", "create", "-f", job_file(mlcli.cwd, "true"), "--web")
    assert made.code == 0
    assert "there is no web page" in made.stderr


def test_a_termination_of_the_follower_leaves_the_job_running(mlcli):
    command, gate = held(mlcli.cwd)
    process = mlcli.start("job", "create", "-f", job_file(mlcli.cwd, command), "-n", "on", "-s", "-o", "none")
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    gate.touch()
    assert mlcli("job", "stream", "on").stdout == "started\ndone\n"
