"""Downloads of jobs that run, that have nothing, that point elsewhere, and into places that refuse."""

from __future__ import annotations

from pathlib import Path

from tests.faults.helpers import Jobs, refused, until, wait_for, wrapped


def test_a_running_job_gives_what_it_has_so_far(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.create(
        f"echo begun; echo half > outputs/model.txt; {until(tmp_path / 'go')}; echo whole > outputs/model.txt"
    )
    wait_for((jobs.folder(name) / "wd" / "outputs" / "model.txt").exists)
    jobs.says(name, "begun")
    for expected in ("half\n", "whole\n"):
        fetched = jobs.mlcli("job", "download", "-n", name, "--download-path", "here")
        assert fetched.code == 0, fetched.stderr
        assert (tmp_path / "here" / name / "outputs" / "model.txt").read_text() == expected
        assert (tmp_path / "here" / name / "user_logs" / "std_log.txt").read_text() == "begun\n"
        (tmp_path / "go").touch()
        jobs.wait(name)


def test_files_that_come_and_go_while_it_is_fetched(jobs: Jobs, tmp_path: Path) -> None:
    """Checkpoints are written beside and renamed: what is gone by the time that it is its turn is no error."""
    churn = "i=0; while [ ! -e {gate} ]; do i=$((i+1)); echo $i > outputs/tmp.$i; mv outputs/tmp.$i outputs/ckpt.$((i % 7)); rm -f outputs/ckpt.$(((i + 3) % 7)); done"
    name = jobs.create(f"echo kept > outputs/kept.txt; echo begun; {churn.format(gate=tmp_path / 'go')}")
    jobs.says(name, "begun")
    try:
        for number in range(6):
            fetched = jobs.mlcli("job", "download", "-n", name, "--outputs", "--download-path", f"here{number}")
            assert fetched.code == 0, fetched.stderr
            assert (tmp_path / f"here{number}" / name / "outputs" / "kept.txt").read_text() == "kept\n"
            assert not list((tmp_path / f"here{number}").rglob(".mlcli-*"))
    finally:
        (tmp_path / "go").touch()


def test_a_job_without_outputs(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.create("true")
    jobs.wait(name)
    fetched = jobs.mlcli("job", "download", "-n", name, "--outputs", "--download-path", "here")
    assert fetched.code == 0
    assert fetched.json["written"] == []
    assert "nothing was written" in fetched.stderr
    assert not (tmp_path / "here").exists()


def test_an_output_that_the_job_does_not_have(jobs: Jobs) -> None:
    name = jobs.create("echo x > ${{outputs.model}}/x", outputs={"model": {"type": "uri_folder"}})
    jobs.wait(name)
    refused(jobs.mlcli("job", "download", "-n", name, "--output-name", "modle"), "modle", "model", code=3)


def test_a_folder_that_cannot_be_written(jobs: Jobs, unprivileged: list[str], tmp_path: Path) -> None:
    name = jobs.create("echo x > outputs/x")
    jobs.wait(name)
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    told = wrapped(jobs.mlcli, unprivileged, "job", "download", "-n", name, "--download-path", str(locked))
    refused(told, "locked", "ermission denied")
    (tmp_path / "a file").touch()
    refused(jobs.mlcli("job", "download", "-n", name, "--download-path", "a file"), "a file")


def test_links_in_outputs(jobs: Jobs, tmp_path: Path) -> None:
    """One to a file is that file; one to a folder outside is left out, and nothing is written through any of them."""
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "weights.bin").write_bytes(b"outside")
    command = (
        f"cd outputs; echo inside > real; ln -s real same; ln -s {elsewhere} folder; ln -s {elsewhere}/weights.bin one;"
        " ln -s nowhere dangling; ln -s . loop; ln -s /dev/zero device"
    )
    name = jobs.create(command)
    jobs.wait(name)
    for _ in range(2):
        fetched = jobs.mlcli("job", "download", "-n", name, "--outputs", "--download-path", "here")
        assert fetched.code == 0, fetched.stderr
    outputs = tmp_path / "here" / name / "outputs"
    assert {path.name: path.read_bytes() for path in outputs.iterdir() if path.is_file()} == {
        "real": b"inside\n",
        "same": b"inside\n",
        "one": b"outside",
    }
    assert {path.name for path in elsewhere.iterdir()} == {"weights.bin"}


def test_names_of_files_that_no_shell_likes(jobs: Jobs, tmp_path: Path) -> None:
    name = jobs.create(
        r"""cd outputs; echo 1 > 'a b'; echo 2 > '-rf'; echo 3 > $'new\nline'; echo 4 > $'\xff'; echo 5 > 'é'"""
    )
    jobs.wait(name)
    fetched = jobs.mlcli("job", "download", "-n", name, "--outputs", "--download-path", "here")
    assert fetched.code == 0, fetched.stderr
    found = sorted(path.read_text() for path in (tmp_path / "here" / name / "outputs").iterdir())
    assert found == ["1\n", "2\n", "3\n", "4\n", "5\n"]
