"""What every snapshot store must do. Subclass it, give the fixture ``store``, and run it with pytest.

The fixture's store holds at most 1 MB and 50 files a snapshot.
"""

from __future__ import annotations

import hashlib
import os
import stat
import subprocess
from functools import partial
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import SnapshotError
from mlcli.domain.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mlcli.ports.stores import SnapshotStore

SMALL_SETTINGS = Settings(snapshot_max_mb=1, snapshot_max_files=50)

Tree = dict[bytes, tuple[object, ...]]
PART = st.binary(min_size=1, max_size=6).filter(
    lambda part: not {0, ord("/")} & set(part) and part not in {b".", b"..", b".git", b".gitignore", b".amlignore"}
)
FILES = st.dictionaries(
    st.lists(PART, min_size=1, max_size=3).map(b"/".join),
    st.tuples(st.binary(max_size=200), st.sampled_from([0o644, 0o755, 0o600, 0o444])),
    max_size=8,
)


def tree_of(folder: Path) -> Tree:
    """Everything below a folder: files with mode and content, links with text, folders."""
    return {os.fsencode(path.relative_to(folder)): _content(path) for path in folder.rglob("*")}


def _content(path: Path) -> tuple[object, ...]:
    if path.is_symlink():
        return "link", str(path.readlink())
    if path.is_dir():
        return ("folder",)
    return "file", stat.S_IMODE(path.stat().st_mode), path.read_bytes()


def write_tree(folder: Path, files: dict[bytes, tuple[bytes, int]]) -> None:
    """Make the files; one whose parent is a file, or whose place is a folder, is left out."""
    subprocess.run(["rm", "-rf", folder], check=True)
    folder.mkdir()
    for path, (content, mode) in files.items():
        file = folder / os.fsdecode(path)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
        except (FileExistsError, NotADirectoryError, IsADirectoryError):
            continue
        file.chmod(mode)


class SnapshotStoreSuite:
    """The contract of ``ports.stores.SnapshotStore``."""

    @pytest.fixture
    def code(self, tmp_path: Path) -> Path:
        """A code folder with a bit of everything."""
        code = tmp_path / "code"
        (code / "src" / "deep").mkdir(parents=True)
        (code / "empty").mkdir()
        (code / "train.py").write_text("print('hello')\n")
        (code / "run.sh").write_text("#!/bin/sh\n")
        (code / "run.sh").chmod(0o755)
        (code / "src" / "__init__.py").write_text("")
        (code / "src" / "deep" / "data.bin").write_bytes(bytes(range(256)) * 1000)
        (code / "src" / "latest").symlink_to("deep/data.bin")
        return code

    def test_what_is_put_comes_out(self, store: SnapshotStore, code: Path, tmp_path: Path) -> None:
        stored = store.put(code)
        store.materialise(stored.digest, tmp_path / "new" / "copy")
        assert tree_of(tmp_path / "new" / "copy") == tree_of(code)
        assert (stored.summary.files, stored.summary.size) == (4, 256_000 + 15 + 10)
        assert stored.summary.biggest[0] == ("src/deep/data.bin", 256_000)
        assert (stored.new_files, stored.new_bytes) == (4, 256_025)
        assert store.scan(code) == stored.summary

    def test_it_can_be_written_out_elsewhere(self, store: SnapshotStore, code: Path, tmp_path: Path) -> None:
        """From its tree and its blobs alone, in order."""
        there = tmp_path / "there"
        there.mkdir()
        for entry in store.tree(store.put(code).digest):
            place = there / entry.path
            if entry.kind == "folder":
                place.mkdir()
            elif entry.kind == "link":
                place.symlink_to(entry.content)
            else:
                data = b"".join(store.blob(entry.content))
                assert (len(data), hashlib.sha256(data).hexdigest()) == (entry.size, entry.content)
                place.write_bytes(data)
                place.chmod(entry.mode)
        assert tree_of(there) == tree_of(code)

    def test_the_copy_is_its_own(self, store: SnapshotStore, code: Path, tmp_path: Path) -> None:
        digest = store.put(code).digest
        for copy in (tmp_path / "one", tmp_path / "two"):
            store.materialise(digest, copy)
            (copy / "src" / "deep" / "data.bin").write_bytes(b"overwritten")
            (copy / "train.py").unlink()
        store.materialise(digest, tmp_path / "three")
        assert tree_of(tmp_path / "three") == tree_of(code)

    def test_the_same_files_are_the_same_snapshot_and_stored_once(
        self, store: SnapshotStore, code: Path, tmp_path: Path
    ) -> None:
        first = store.put(code)
        subprocess.run(["cp", "-r", code, tmp_path / "moved"], check=True)
        for folder in (code, tmp_path / "moved"):
            second = store.put(folder)
            assert second.digest == first.digest
            assert (second.new_files, second.new_bytes) == (0, 0)

    def test_only_what_changed_is_stored_again(self, store: SnapshotStore, code: Path, tmp_path: Path) -> None:
        first = store.put(code)
        (code / "train.py").write_text("print('bye')\n")
        second = store.put(code)
        assert second.digest != first.digest
        assert (second.new_files, second.new_bytes) == (1, 13)
        store.materialise(first.digest, tmp_path / "first")
        store.materialise(second.digest, tmp_path / "second")
        assert (tmp_path / "first" / "train.py").read_text() == "print('hello')\n"
        assert tree_of(tmp_path / "second") == tree_of(code)

    def test_a_change_that_keeps_size_and_time_is_seen(self, store: SnapshotStore, code: Path) -> None:
        digests = set()
        before = (code / "train.py").stat()
        for number in range(10):
            (code / "train.py").write_text(f"print('hell{number}')\n")
            os.utime(code / "train.py", ns=(before.st_atime_ns, before.st_mtime_ns))
            digests.add(store.put(code).digest)
        assert len(digests) == 10

    def test_every_kind_of_change_is_seen(self, store: SnapshotStore, code: Path, tmp_path: Path) -> None:
        changes: list[Callable[[], object]] = [
            partial((code / "run.sh").chmod, 0o644),
            partial((code / "train.py").rename, code / "main.py"),
            (code / "empty").rmdir,
            (code / "src" / "latest").unlink,
            partial((code / "src" / "latest").symlink_to, "__init__.py"),
            partial((code / "src" / "deep").rename, code / "deeper"),
            (code / "main.py").unlink,
            (code / "main.py").mkdir,
        ]
        seen = {store.put(code).digest}
        for number, change in enumerate(changes):
            change()
            digest = store.put(code).digest
            assert digest not in seen
            seen.add(digest)
            store.materialise(digest, tmp_path / str(number))
            assert tree_of(tmp_path / str(number)) == tree_of(code)

    @settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(files=FILES, other=FILES)
    def test_any_tree_comes_out_as_it_went_in(
        self,
        store: SnapshotStore,
        tmp_path: Path,
        files: dict[bytes, tuple[bytes, int]],
        other: dict[bytes, tuple[bytes, int]],
    ) -> None:
        for tree in (files, {**files, **other}, other):
            write_tree(tmp_path / "tree", tree)
            subprocess.run(["rm", "-rf", tmp_path / "out"], check=True)
            digest = store.put(tmp_path / "tree").digest
            store.materialise(digest, tmp_path / "out")
            assert tree_of(tmp_path / "out") == tree_of(tmp_path / "tree")

    def test_entries_name_every_file_by_its_content(self, store: SnapshotStore, code: Path) -> None:
        stored = store.put(code)
        entries = list(store.entries(stored.digest))
        assert [path for path, _, _ in entries] == ["run.sh", "src/__init__.py", "src/deep/data.bin", "train.py"]
        assert sum(size for _, _, size in entries) == stored.summary.size
        digests = [digest for _, digest, _ in entries]
        assert store.missing(digests) == set()
        unknown = hashlib.sha256(b"never stored").hexdigest()
        assert store.missing([*digests, unknown]) == {unknown}

    # What stays out

    def test_ignore_files_of_every_folder_count(self, store: SnapshotStore, code: Path) -> None:
        (code / ".gitignore").write_text("*.bin\n!/keep.bin\n__pycache__/\n")
        (code / "src" / ".gitignore").write_text("secret*\n!secret_not\n")
        (code / "keep.bin").write_text("x")
        (code / "src" / "secret").write_text("x")
        (code / "src" / "secret_not").write_text("x")
        (code / "__pycache__").mkdir()
        (code / "__pycache__" / "x.pyc").write_text("x")
        (code / ".git").mkdir()
        (code / ".git" / "config").write_text("x")
        (code / "src" / "latest").unlink()
        assert self.paths(store, code) == [
            ".gitignore",
            "keep.bin",
            "run.sh",
            "src/.gitignore",
            "src/__init__.py",
            "src/secret_not",
            "train.py",
        ]

    def test_an_amlignore_replaces_every_gitignore(self, store: SnapshotStore, code: Path) -> None:
        (code / ".gitignore").write_text("train.py\n")
        (code / "src" / ".gitignore").write_text("*\n")
        (code / ".amlignore").write_text("*.sh\nlatest\n")
        assert self.paths(store, code) == [
            ".amlignore",
            ".gitignore",
            "src/.gitignore",
            "src/__init__.py",
            "src/deep/data.bin",
            "train.py",
        ]

    def test_a_changed_ignore_file_counts_at_once(self, store: SnapshotStore, code: Path) -> None:
        store.put(code)
        (code / ".gitignore").write_text("*.py\n")
        assert self.paths(store, code) == [".gitignore", "run.sh", "src/deep/data.bin"]
        (code / ".gitignore").write_text("*.sh\n")
        assert self.paths(store, code) == [".gitignore", "src/__init__.py", "src/deep/data.bin", "train.py"]
        (code / "new.sh").write_text("")
        (code / "src" / "new.py").write_text("")
        assert self.paths(store, code)[1] == "src/__init__.py"
        (code / ".gitignore").write_text(".gitignore\n*.sh\n")
        assert self.paths(store, code)[0] == "src/__init__.py"
        (code / ".gitignore").unlink()
        assert len(self.paths(store, code)) == 6

    def paths(self, store: SnapshotStore, code: Path) -> list[str]:
        """What a snapshot holds: the same when it is taken twice."""
        first = store.put(code).digest
        assert store.put(code).digest == first
        return [path for path, _, _ in store.entries(first)]

    # Links

    def test_links_within_stay_links_and_lead_within_the_copy(
        self, store: SnapshotStore, code: Path, tmp_path: Path
    ) -> None:
        (code / "absolute").symlink_to(code / "train.py")
        (code / "src" / "up").symlink_to("../src")
        (code / "src" / "round").symlink_to(f"../../{code.name}/run.sh")
        digest = store.put(code).digest
        copy = tmp_path / "copy"
        store.materialise(digest, copy)
        assert str((copy / "absolute").readlink()) == "train.py"
        assert str((copy / "src" / "up").readlink()) == "../src"
        assert (copy / "src" / "round").resolve() == (copy / "run.sh").resolve()
        assert (copy / "src" / "latest").is_symlink()

    def test_links_that_leave_are_followed(self, store: SnapshotStore, code: Path, tmp_path: Path) -> None:
        shared = tmp_path / "shared"
        (shared / "sub").mkdir(parents=True)
        (shared / "lib.py").write_text("shared = 1\n")
        (shared / "sub" / "back").symlink_to("../lib.py")
        (shared / "sub" / "loop").symlink_to("..")
        (shared / "to_code").symlink_to(code / "run.sh")
        (code / "shared").symlink_to(shared)
        (code / "lib.py").symlink_to(shared / "lib.py")
        first = store.put(code)
        copy = tmp_path / "copy"
        store.materialise(first.digest, copy)
        assert (copy / "lib.py").read_text() == "shared = 1\n"
        assert not (copy / "lib.py").is_symlink()
        assert not (copy / "shared").is_symlink()
        assert (copy / "shared" / "sub" / "back").resolve() == (copy / "shared" / "lib.py").resolve()
        assert (copy / "shared" / "sub" / "loop").resolve() == (copy / "shared").resolve()
        assert (copy / "shared" / "to_code").resolve() == (copy / "run.sh").resolve()
        (shared / "lib.py").write_text("shared = 2\n")
        second = store.put(code)
        store.materialise(second.digest, tmp_path / "again")
        assert (tmp_path / "again" / "lib.py").read_text() == "shared = 2\n"
        assert (tmp_path / "again" / "shared" / "lib.py").read_text() == "shared = 2\n"

    # What is refused

    def test_everything_that_cannot_be_kept_is_named_at_once(self, store: SnapshotStore, code: Path) -> None:
        (code / "dangling").symlink_to("nowhere")
        (code / "circle").symlink_to("circle")
        os.mkfifo(code / "src" / "pipe")
        with pytest.raises(SnapshotError) as told:
            store.put(code)
        text = "\n".join(told.value.details)
        assert "dangling" in text
        assert "nowhere" in text
        assert "circle" in text
        assert "src/pipe" in text
        assert "amlignore" in (told.value.hint or "")
        (code / ".amlignore").write_text("dangling\ncircle\npipe\n")
        assert store.put(code).summary.files == 5

    @pytest.mark.parametrize("make", ["missing", "file"])
    def test_a_code_folder_that_is_none(self, store: SnapshotStore, tmp_path: Path, make: str) -> None:
        if make == "file":
            (tmp_path / make).write_text("")
        for ask in (store.put, store.scan):
            with pytest.raises(SnapshotError, match=make):
                ask(tmp_path / make)

    def test_too_many_bytes_name_the_biggest(self, store: SnapshotStore, code: Path) -> None:
        (code / "data").mkdir()
        for number in range(6):
            (code / "data" / f"part_{number}").write_bytes(bytes(200_000 + number))
        for ask in (store.put, store.scan):
            with pytest.raises(SnapshotError, match=r"1\.4 MB.*1 MB") as told:
                ask(code)
            assert "snapshot_max_mb" in (told.value.hint or "")
            assert "data/ (6 files)" in told.value.details[1]
            assert any("src/deep/data.bin" in line for line in told.value.details)
        (code / ".gitignore").write_text("data\n")
        assert store.put(code).summary.files == 5

    def test_too_many_files_name_the_fullest(self, store: SnapshotStore, code: Path) -> None:
        (code / "many").mkdir()
        for number in range(60):
            (code / "many" / str(number)).write_text("")
        with pytest.raises(SnapshotError, match="64 files") as told:
            store.put(code)
        assert "snapshot_max_files" in (told.value.hint or "")
        assert "60 files  many/" in told.value.details[1]

    @pytest.mark.parametrize("digest", ["", "xyz", "ab" * 32])
    def test_a_snapshot_that_is_not_there(self, store: SnapshotStore, tmp_path: Path, digest: str) -> None:
        with pytest.raises(SnapshotError):
            store.materialise(digest, tmp_path / "copy")
        with pytest.raises(SnapshotError):
            list(store.entries(digest))
