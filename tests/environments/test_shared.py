"""The shared cache's folder: whole or not there, whoever writes at the same time, and damage is not handed out."""

from __future__ import annotations

import pytest

from mlcli.domain.errors import StoreError
from mlcli.environments._shared import SharedCache


@pytest.fixture
def shared(tmp_path):
    return SharedCache(str(tmp_path / "shared"))


@pytest.fixture
def built(tmp_path):
    file = tmp_path / "built"
    file.write_bytes(b"environment" * 1000)
    return file


def test_the_setting_names_a_folder_or_a_repository_or_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert SharedCache("~/there").folder == tmp_path / "there"
    assert SharedCache("~/there").repository is None
    assert (
        SharedCache("docker://registry.example.org:5000/team/mlcli").repository
        == "registry.example.org:5000/team/mlcli"
    )
    assert SharedCache("docker://registry.example.org/mlcli").folder is None
    assert SharedCache("").folder is None
    assert SharedCache("").repository is None


def test_what_was_stored_is_fetched_under_its_key_and_suffix_alone(shared, built, tmp_path):
    target = tmp_path / "fetched"
    assert not shared.fetch("key", ".tar", target)
    shared.store("key", ".tar", built)
    assert not shared.fetch("key", ".json", target)
    assert not shared.fetch("another", ".tar", target)
    assert not target.exists()
    assert shared.fetch("key", ".tar", target)
    assert target.read_bytes() == built.read_bytes()


def test_nothing_is_kept_without_a_folder(built, tmp_path):
    nowhere = SharedCache("")
    nowhere.store("key", ".tar", built)
    assert not nowhere.fetch("key", ".tar", tmp_path / "fetched")


def test_damage_is_not_handed_out_and_the_next_store_mends_it(shared, built, tmp_path):
    shared.store("key", ".tar", built)
    (kept,) = shared.folder.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1])
    assert not shared.fetch("key", ".tar", tmp_path / "fetched")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built", "shared"]
    shared.store("key", ".tar", built)
    assert shared.fetch("key", ".tar", tmp_path / "fetched")


def test_a_half_written_file_of_somebody_killed_is_not_found(shared, built, tmp_path):
    shared.folder.mkdir()
    (shared.folder / ".key.tar.elsewhere.77.partial").write_bytes(b"half")
    assert not shared.fetch("key", ".tar", tmp_path / "fetched")


def test_two_machines_that_store_the_same_key_do_not_disturb_each_other(shared, tmp_path):
    contents = [b"built here" * 100_000, b"built there" * 100_000]
    for content in contents:
        (tmp_path / "built").write_bytes(content)
        shared.store("key", ".tar", tmp_path / "built")
    assert shared.fetch("key", ".tar", tmp_path / "fetched")
    assert (tmp_path / "fetched").read_bytes() in contents


def test_a_folder_that_cannot_be_written_says_which_setting(built, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="could not be put into") as caught:
        SharedCache(str(tmp_path / "file" / "below")).store("key", ".tar", built)
    assert "environments.shared" in (caught.value.hint or "")
