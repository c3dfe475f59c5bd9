"""What every transport must do. Subclass it, give the fixtures, and run it with pytest.

Implementations of other packages run the same suite over theirs::

    class TestMine(TransportContract):
        @pytest.fixture
        def transport(self):
            return MyTransport("host")

        @pytest.fixture
        def folder(self):
            return "/tmp/an-empty-folder-on-that-machine"

        @pytest.fixture
        def snapshots(self, tmp_path):
            return ContentStore(tmp_path / "store", Settings())
"""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path

import pytest

from mlcli import agent
from mlcli.domain.errors import TransportError
from mlcli.ports.stores import SnapshotStore
from mlcli.ports.transports import Transport

AWKWARD = ("", "a b", "'", '"', "$HOME", "`id`", "*", "\\", "a\nb", ";true", "--flag=x y", "ö", "~", "#", "!!")


class TransportContract:
    """Commands and files reach the machine unchanged, and what cannot be done is a TransportError."""

    @pytest.fixture
    def transport(self) -> Transport:
        """The transport under test."""
        raise NotImplementedError

    @pytest.fixture
    def folder(self) -> str:
        """An empty folder on that machine, an absolute path."""
        raise NotImplementedError

    @pytest.fixture
    def snapshots(self) -> SnapshotStore:
        """A store of code snapshots on this machine."""
        raise NotImplementedError

    def test_a_command_and_its_answer(self, transport: Transport) -> None:
        code = "import sys; data = sys.stdin.buffer.read(); sys.stdout.buffer.write(data[::-1]); sys.exit(len(data))"
        done = transport.run([transport.python(), "-c", code], stdin=b"\0\xff\n")
        assert (done.code, done.stdout, done.stderr) == (3, b"\n\xff\0", b"")

    def test_standard_error_is_apart(self, transport: Transport) -> None:
        done = transport.run(["sh", "-c", "echo out; echo err >&2"])
        assert (done.code, done.stdout, done.stderr.splitlines()[-1:]) == (0, b"out\n", [b"err"])

    def test_no_shell_reads_the_arguments(self, transport: Transport) -> None:
        code = "import json, sys; print(json.dumps(sys.argv[1:]))"
        done = transport.run([transport.python(), "-c", code, *AWKWARD])
        assert json.loads(done.stdout) == list(AWKWARD)

    def test_environment_variables_are_added(self, transport: Transport) -> None:
        done = transport.run(["sh", "-c", 'echo "$WORD" "${PATH:+path}"'], environment={"WORD": 'it\'s "$5"'})
        assert done.stdout == b'it\'s "$5" path\n'

    def test_nothing_is_read_from_the_terminal(self, transport: Transport) -> None:
        assert transport.run(["cat"]).stdout == b""

    def test_a_command_that_takes_too_long(self, transport: Transport) -> None:
        with pytest.raises(TransportError) as error:
            transport.run(["sleep", "60"], timeout_s=0.2)
        assert error.value.transient

    def test_a_program_that_is_not_there_is_never_a_success(self, transport: Transport) -> None:
        try:
            code = transport.run(["/no/such/program"]).code
        except TransportError as error:
            code = 127 if not error.transient else 0
        assert code == 127

    def test_the_agent_runs_there(self, transport: Transport, folder: str) -> None:
        argv = agent.invocation(transport.python(), transport.agent_folder(), "observe", f"{folder}/none")
        done = transport.run(argv)
        assert json.loads(done.stdout)["sight"] == "absent", done.stderr

    @pytest.mark.parametrize("data", [b"", b"text\n", bytes(range(256)) * 1000])
    def test_what_is_written_is_read(self, transport: Transport, folder: str, data: bytes) -> None:
        path = f"{folder}/made on the way/ö 'x'.bin"
        transport.write(path, b"before")
        transport.write(path, data)
        assert transport.read(path) == data
        assert transport.run(["ls", "-A", f"{folder}/made on the way"]).stdout.decode().strip() == "ö 'x'.bin"

    def test_a_part_of_a_file(self, transport: Transport, folder: str) -> None:
        path = f"{folder}/log"
        transport.write(path, b"0123456789")
        assert transport.read(path, 4) == b"456789"
        assert transport.read(path, 4, 3) == b"456"
        assert transport.read(path, 10) == b""
        assert transport.read(path, 99, 5) == b""

    def test_a_file_that_is_not_there(self, transport: Transport, folder: str) -> None:
        assert transport.read(f"{folder}/nothing") is None
        transport.write(f"{folder}/file", b"")
        assert transport.read(f"{folder}/file/below") is None

    def test_a_secret_is_for_its_owner_only(self, transport: Transport, folder: str) -> None:
        transport.write(f"{folder}/new/secret", b"x")
        listed = transport.run(["ls", "-ld", f"{folder}/new", f"{folder}/new/secret"]).stdout.decode().splitlines()
        assert [line[:10] for line in listed] == ["drwx------", "-rw-------"]

    def test_what_cannot_be_written_is_an_error_and_leaves_nothing(self, transport: Transport, folder: str) -> None:
        transport.write(f"{folder}/file", b"kept")
        with pytest.raises(TransportError) as error:
            transport.write(f"{folder}/file/below", b"x")
        assert not error.value.transient
        transport.make_folder(f"{folder}/taken")
        with pytest.raises(TransportError):
            transport.write(f"{folder}/taken", b"x")
        assert transport.run(["ls", "-A", folder]).stdout.split() == [b"file", b"taken"]

    def test_a_folder_is_not_a_file(self, transport: Transport, folder: str) -> None:
        with pytest.raises(TransportError):
            transport.read(folder)

    def test_folders_are_made_once(self, transport: Transport, folder: str) -> None:
        for _ in range(2):
            transport.make_folder(f"{folder}/a/b", f"{folder}/c")
        assert transport.run(["test", "-d", f"{folder}/a/b", "-a", "-d", f"{folder}/c"]).code == 0

    def test_a_tree_goes_there_and_back(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        source, back = tmp_path / "source", tmp_path / "back"
        (source / "deep" / "empty").mkdir(parents=True)
        (source / "deep" / "ö 'x'.bin").write_bytes(bytes(range(256)))
        (source / "run.sh").write_text("#!/bin/sh\n")
        (source / "run.sh").chmod(0o755)
        (source / "link").symlink_to("deep")
        os.utime(source / "run.sh", (1_000_000_000, 1_000_000_000))
        transport.put(source, f"{folder}/tree")
        transport.get(f"{folder}/tree", back)
        assert (back / "deep" / "ö 'x'.bin").read_bytes() == bytes(range(256))
        assert (back / "deep" / "empty").is_dir()
        assert (back / "link").readlink() == Path("deep")
        assert stat.S_IMODE((back / "run.sh").stat().st_mode) & 0o100
        assert (back / "run.sh").stat().st_mtime == 1_000_000_000

    def test_trees_are_merged_and_files_replaced(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        source = tmp_path / "source"
        source.mkdir()
        (source / "a").write_text("new")
        transport.write(f"{folder}/tree/a", b"old")
        transport.write(f"{folder}/tree/b", b"other")
        transport.put(source, f"{folder}/tree")
        assert (transport.read(f"{folder}/tree/a"), transport.read(f"{folder}/tree/b")) == (b"new", b"other")

    def test_one_file_goes_there_and_back(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        source, back = tmp_path / "model.bin", tmp_path / "made" / "back.bin"
        source.write_bytes(b"\0weights")
        transport.put(source, f"{folder}/made/model.bin")
        transport.get(f"{folder}/made/model.bin", back)
        assert back.read_bytes() == b"\0weights"

    def test_many_files_are_got_one_after_the_other(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        """In order, whatever their sizes; one that has been taken away meanwhile is told of and left out."""
        sizes = {"a/1": 10, "big": 3 << 20, "gone": 5, "a/2": 0, "b 'ö'": 700_000, "3": 700_000, "also gone": 2 << 20}
        for name, size in sizes.items():
            if "gone" not in name:
                transport.write(f"{folder}/{name}", bytes(size))
        got = transport.get_files((f"{folder}/{name}", tmp_path / "new" / name, size) for name, size in sizes.items())
        assert list(got) == ["gone" not in name for name in sizes]
        there = {name: size for name, size in sizes.items() if "gone" not in name}
        assert {name: (tmp_path / "new" / name).stat().st_size for name in there} == there
        assert len([path for path in (tmp_path / "new").rglob("*") if path.is_file()]) == len(there)

    def test_what_is_not_there_cannot_be_got(self, transport: Transport, folder: str, tmp_path: Path) -> None:
        with pytest.raises(TransportError) as error:
            transport.get(f"{folder}/nothing", tmp_path / "target")
        assert not error.value.transient
        assert f"{folder}/nothing" in error.value.message
        assert not (tmp_path / "target").exists()

    def test_a_snapshot_is_placed_whole(
        self, transport: Transport, folder: str, snapshots: SnapshotStore, tmp_path: Path
    ) -> None:
        code = make_code(tmp_path / "code")
        transport.place(f"{folder}/new/wd", snapshots.put(code).digest, snapshots)
        back = tmp_path / "back"
        transport.get(f"{folder}/new/wd", back)
        assert seen(back) == seen(code)
        assert transport.run(["ls", "-A", f"{folder}/new"]).stdout == b"wd\n"

    def test_a_snapshot_is_a_copy_of_its_own(
        self, transport: Transport, folder: str, snapshots: SnapshotStore, tmp_path: Path
    ) -> None:
        """A job may write over its code; the next one gets what was stored."""
        digest = snapshots.put(make_code(tmp_path / "code")).digest
        transport.place(f"{folder}/first", digest, snapshots)
        transport.run(["sh", "-c", 'printf spoilt > "$0/run.sh"', f"{folder}/first"])
        transport.place(f"{folder}/first", digest, snapshots)
        transport.place(f"{folder}/second", digest, snapshots)
        assert transport.read(f"{folder}/first/run.sh") == b"spoilt"
        assert transport.read(f"{folder}/second/run.sh") == b"#!/bin/sh\n"

    def test_what_was_left_half_done_is_thrown_away(
        self, transport: Transport, folder: str, snapshots: SnapshotStore
    ) -> None:
        transport.write(f"{folder}/wd.partial/half", b"x")
        transport.place(f"{folder}/wd", None, snapshots)
        assert transport.run(["ls", "-A", folder, f"{folder}/wd"]).stdout.split() == [
            f"{folder}:".encode(),
            b"wd",
            f"{folder}/wd:".encode(),
        ]

    def test_a_local_path_is_the_same_file(self, transport: Transport, folder: str) -> None:
        transport.write(f"{folder}/file", b"same")
        near = transport.local(f"{folder}/file")
        assert near is None or near.read_bytes() == b"same"

    def test_its_python_can_run_the_agent(self, transport: Transport) -> None:
        done = transport.run([transport.python(), "-c", "import sys; print(sys.version_info >= (3, 8))"])
        assert done.stdout == b"True\n"

    def test_closing_twice_is_closing_once(self, transport: Transport) -> None:
        transport.close()
        transport.close()


def make_code(folder: Path) -> Path:
    """A code folder with something of everything."""
    (folder / "deep" / "empty").mkdir(parents=True)
    (folder / "deep" / "ö 'x'.py").write_text("print('ö')")
    (folder / "deep" / "same.py").write_text("print('ö')")
    (folder / "nothing").touch()
    (folder / "big.bin").write_bytes(bytes(range(256)) * 20_000)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "link").symlink_to("deep/same.py")
    return folder


def seen(folder: Path) -> dict[str, tuple[int, bytes | str]]:
    """What is below a folder: modes of files, and what they hold."""
    found: dict[str, tuple[int, bytes | str]] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = (0, str(path.readlink()))
        elif path.is_dir():
            found[name] = (0, "folder")
        else:
            found[name] = (stat.S_IMODE(path.stat().st_mode), path.read_bytes())
    return found
