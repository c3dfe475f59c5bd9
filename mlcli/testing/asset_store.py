"""What every asset store must do. Subclass it, give the fixture ``store``, and run it with pytest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcli.domain.errors import MlcliError, NameTakenError, NotFoundError
from mlcli.ports.stores import AssetChanges

if TYPE_CHECKING:
    from pathlib import Path

    from mlcli.ports.stores import AssetStore

KIND = "environment"
NAMES = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), min_size=1, max_size=300)


class AssetStoreSuite:
    """The contract of ``ports.stores.AssetStore``."""

    @pytest.fixture
    def store(self) -> AssetStore:
        """An empty store."""
        raise NotImplementedError

    def test_what_was_registered_is_found(self, store: AssetStore) -> None:
        document = {"image": "python:3.12", "tags": ["a", 1, None]}
        made = store.create(KIND, "keras", document, version="7", description="mine", tags={"a": "b"})
        assert store.find(KIND, "keras", version="7") == made == store.find(KIND, "keras")
        assert (made.document, made.description, made.tags, made.folder) == (document, "mine", {"a": "b"}, None)

    def test_versions_count_on_from_the_greatest_number(self, store: AssetStore) -> None:
        versions = [store.create(KIND, "e", {}, version=given).version for given in (None, None, "9", "2021.10", None)]
        assert versions == ["1", "2", "9", "2021.10", "10"]
        assert [one.version for one in store.versions(KIND, "e")] == ["10", "2021.10", "9", "2", "1"]

    def test_a_version_is_never_replaced(self, store: AssetStore) -> None:
        store.create(KIND, "e", {"image": "a"}, version="1")
        with pytest.raises(NameTakenError, match="has a version '1' already"):
            store.create(KIND, "e", {"image": "b"}, version="1")
        assert store.find(KIND, "e").document == {"image": "a"}

    def test_of_two_at_once_one_wins(self, store: AssetStore) -> None:
        def register(number: int) -> bool:
            try:
                store.create(KIND, "e", {"number": number}, version="1")
            except NameTakenError:
                return False
            return True

        with ThreadPoolExecutor(8) as pool:
            assert sum(pool.map(register, range(16))) == 1

    def test_many_at_once_each_get_a_version_of_their_own(self, store: AssetStore) -> None:
        with ThreadPoolExecutor(8) as pool:
            versions = list(pool.map(lambda _: store.create(KIND, "e", {}).version, range(16)))
        assert sorted(map(int, versions)) == list(range(1, 17))

    def test_latest_is_the_newest_that_is_not_archived(self, store: AssetStore) -> None:
        for version in ("3", "1", "2"):
            store.create(KIND, "e", {}, version=version)
        assert store.find(KIND, "e", label="latest").version == "2"
        store.edit(KIND, "e", "2", lambda _: AssetChanges(archived=True))
        assert store.find(KIND, "e").version == "1"
        assert store.find(KIND, "e", version="2").archived
        for version in ("1", "3"):
            store.edit(KIND, "e", version, lambda _: AssetChanges(archived=True))
        with pytest.raises(NotFoundError, match="archived"):
            store.find(KIND, "e")
        store.edit(KIND, "e", "3", lambda _: AssetChanges(archived=False))
        assert store.find(KIND, "e").version == "3"

    def test_a_label_stands_at_one_version(self, store: AssetStore) -> None:
        for _ in range(2):
            store.create(KIND, "e", {})
        store.edit(KIND, "e", "2", lambda _: AssetChanges(add_labels=("prod",)))
        store.edit(KIND, "e", "1", lambda _: AssetChanges(add_labels=("prod", "old")))
        assert store.find(KIND, "e", label="prod").version == "1"
        assert store.find(KIND, "e", version="2").labels == ()
        store.edit(KIND, "e", "1", lambda _: AssetChanges(remove_labels=("prod",)))
        with pytest.raises(NotFoundError, match="'prod'") as refused:
            store.find(KIND, "e", label="prod")
        assert "@old" in str(refused.value.hint)

    def test_an_edit_sees_what_is_there_and_keeps_the_rest(self, store: AssetStore) -> None:
        store.create(KIND, "e", {"image": "a"}, tags={"n": "0"}, description="first")

        def count(_: int) -> None:
            store.edit(KIND, "e", "1", lambda one: AssetChanges(tags={"n": str(int(one.tags["n"]) + 1)}))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(20)))
        found = store.find(KIND, "e")
        assert (found.tags, found.description, found.document) == ({"n": "20"}, "first", {"image": "a"})

    def test_what_is_not_there_is_named_with_what_is_near(self, store: AssetStore) -> None:
        store.create(KIND, "sklearn", {})
        with pytest.raises(NotFoundError) as refused:
            store.find(KIND, "sklear")
        assert "'sklearn'" in str(refused.value.hint)
        with pytest.raises(NotFoundError) as refused:
            store.find(KIND, "sklearn", version="4")
        assert "1" in str(refused.value.hint)
        with pytest.raises(NotFoundError):
            store.find("data", "sklearn")

    def test_files_are_kept_as_they_were(self, store: AssetStore, tmp_path: Path) -> None:
        context = tmp_path / "context"
        (context / "deep").mkdir(parents=True)
        (context / "Dockerfile").write_text("FROM scratch\n")
        (context / "deep" / "run.sh").write_text("#!/bin/sh\n")
        (context / "deep" / "run.sh").chmod(0o755)
        (context / "link").symlink_to("Dockerfile")
        (context / "secret").write_text("no")
        made = store.create(KIND, "e", {}, files=context, ignore=lambda _, names: {"secret"} & set(names))
        (context / "Dockerfile").write_text("FROM other\n")
        folder = store.find(KIND, "e").folder
        assert folder is not None
        assert folder == made.folder
        assert (folder / "Dockerfile").read_text() == "FROM scratch\n"
        assert (folder / "deep" / "run.sh").stat().st_mode & 0o111
        assert (folder / "link").is_symlink()
        assert not (folder / "secret").exists()

    def test_a_file_is_kept_in_a_folder_of_its_own(self, store: AssetStore, tmp_path: Path) -> None:
        (tmp_path / "iris.csv").write_text("1,2\n")
        made = store.create(KIND, "e", {}, files=tmp_path / "iris.csv")
        assert made.folder is not None
        assert [(entry.name, entry.read_text()) for entry in made.folder.iterdir()] == [("iris.csv", "1,2\n")]

    def test_what_is_there_already_is_made_once_however_many_ask(self, store: AssetStore) -> None:
        def register(number: int) -> str:
            job = number % 2
            return store.create(KIND, "e", {"job": job}, unless=lambda one: one.document["job"] == job).version

        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(register, range(16))) == {"1", "2"}

    def test_deleted_is_gone_with_its_files(self, store: AssetStore, tmp_path: Path) -> None:
        context = tmp_path / "context"
        context.mkdir()
        (context / "big").write_bytes(b"x" * 5000)
        kept = [store.create(KIND, "e", {}, files=context).folder for _ in range(2)]
        assert store.delete(KIND, "e", "1") >= 5000
        assert [folder.exists() for folder in kept if folder] == [False, True]
        assert [one.version for one in store.versions(KIND, "e")] == ["2"]
        store.delete(KIND, "e")
        assert store.names(KIND) == []
        with pytest.raises(NotFoundError):
            store.delete(KIND, "e")

    @settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(NAMES, NAMES)
    def test_every_name_and_version_will_do(self, store: AssetStore, name: str, version: str) -> None:
        try:
            store.create(KIND, name, {"of": name}, version=version)
        except NameTakenError:
            return
        assert store.find(KIND, name, version=version).document == {"of": name}
        assert name in store.names(KIND)

    def test_a_copy_that_cannot_be_made_leaves_nothing(self, store: AssetStore, tmp_path: Path) -> None:
        with pytest.raises(MlcliError, match="could not be copied"):
            store.create(KIND, "e", {}, files=tmp_path / "nowhere")
        assert store.names(KIND) == []
