"""Assets on the disk: the suite of every asset store, and what only files can suffer."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mlcli.domain.errors import StoreError
from mlcli.stores.assets import FolderAssets
from mlcli.testing.asset_store import KIND, AssetStoreSuite


class TestFolderAssets(AssetStoreSuite):
    @pytest.fixture
    def store(self, tmp_path: Path) -> FolderAssets:
        return FolderAssets(tmp_path / "workspace")


@pytest.fixture
def store(tmp_path: Path) -> FolderAssets:
    return FolderAssets(tmp_path / "workspace")


def file_of(tmp_path: Path, name: str, version: str) -> Path:
    return tmp_path / "workspace" / "assets" / KIND / name / f"{version}.json"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "e"}', "\udcff"])
def test_a_damaged_file_is_named_and_can_be_deleted(store: FolderAssets, tmp_path: Path, content: str) -> None:
    store.create(KIND, "e", {})
    store.create(KIND, "whole", {})
    damaged = file_of(tmp_path, "e", "1")
    damaged.write_bytes(os.fsencode(content))
    with pytest.raises(StoreError, match="damaged") as refused:
        store.find(KIND, "e")
    assert str(damaged) in str(refused.value)
    assert store.names(KIND) == ["whole"]
    assert any(str(damaged) in notice for notice in store.notices)
    store.delete(KIND, "e", "1")
    assert store.create(KIND, "e", {}).version == "1"


def test_a_name_cannot_leave_its_folder(store: FolderAssets, tmp_path: Path) -> None:
    for name in ("../../../out", "/etc/x", ".", "..", ".lock", ".new"):
        store.create(KIND, name, {}, version="../1")
        assert store.find(KIND, name).version == "../1"
    below = tmp_path / "workspace" / "assets" / KIND
    assert {path.parent.parent for path in tmp_path.rglob("*.json")} == {below}


def test_files_are_private(store: FolderAssets, tmp_path: Path) -> None:
    store.create(KIND, "e", {})
    assert file_of(tmp_path, "e", "1").stat().st_mode & 0o077 == 0


_CREATES = """
import sys, pathlib
from mlcli.stores.assets import FolderAssets
store = FolderAssets(pathlib.Path(sys.argv[1]))
print("go", flush=True)
while True:
    store.create("environment", "e", {"image": "x" * 20000}, files=pathlib.Path(sys.argv[2]))
"""


def test_killed_at_any_moment_leaves_every_version_whole(store: FolderAssets, tmp_path: Path) -> None:
    context = tmp_path / "context"
    context.mkdir()
    for number in range(20):
        (context / f"file{number}").write_bytes(b"x" * 1000)
    for pause in (0.0, 0.003, 0.011, 0.02):
        process = subprocess.Popen(
            [sys.executable, "-c", _CREATES, tmp_path / "workspace", context], stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    store.create(KIND, "e", {"image": "last"}, files=context)
    found = store.versions(KIND, "e")
    assert found[0].document == {"image": "last"}
    kept = {one.folder for one in found}
    for folder in kept:
        assert folder is not None
        assert len(list(folder.iterdir())) == 20
    beside = tmp_path / "workspace" / "assets" / KIND / "e"
    assert {entry for entry in beside.iterdir() if entry.is_dir()} == kept  # what the killed left has gone
    assert not [entry for entry in beside.iterdir() if entry.name.startswith(".")]


def test_a_disk_that_refuses_is_told(store: FolderAssets, tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("a file stands where the folder should be")
    with pytest.raises(StoreError) as refused:
        store.create(KIND, "e", {})
    assert "MLCLI_HOME" in str(refused.value.hint)


def test_what_a_newer_mlcli_adds_is_no_harm(store: FolderAssets, tmp_path: Path) -> None:
    store.create(KIND, "e", {"image": "a"})
    file = file_of(tmp_path, "e", "1")
    file.write_text(json.dumps({**json.loads(file.read_text()), "future": True}))
    assert store.find(KIND, "e").document == {"image": "a"}
