"""Data, models, datastores and components: what every generation's file says, and how things are named."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import InvalidSpecError, UnsupportedError, UsageError
from mlcli.spec.assets import WrittenAsset, read_asset
from mlcli.spec.references import (
    AssetReference,
    DatastorePath,
    JobPath,
    Reference,
    is_reference,
    parse_reference,
)
from tests.spec.disk import DiskReader

CORPUS = Path(__file__).resolve().parents[3] / "shared" / "reference" / "corpus"
SAMPLES = {
    "data": ("*/assets/data/*.yml", "*/assets/dataset/*.yml"),
    "model": ("*/assets/model/*.yml",),
    "datastore": ("*/resources/datastore/*.yml",),
    "component": ("*/assets/component/*.yml",),
}
BLOB = "azureml://datastores/workspaceblobstore/paths/"


@pytest.mark.skipif(not CORPUS.is_dir(), reason="the corpus of published files is not beside this checkout")
def test_every_published_sample_is_read() -> None:
    found: dict[str, list[WrittenAsset]] = {}
    for noun, patterns in SAMPLES.items():
        for path in sorted(path for pattern in patterns for path in CORPUS.glob(pattern)):
            read = read_asset(noun, path.read_bytes(), path.name, path.parent, DiskReader())
            found.setdefault(noun, []).append(read)
            assert read.name
            assert (read.local is not None) == path.name.startswith(("local-", "lightgbm", "train"))
    assert {noun: len(reads) for noun, reads in found.items()} == {
        "data": 23,
        "model": 8,
        "datastore": 8,
        "component": 1,
    }
    kinds = {str(each.document["path"]).partition(":")[0] for each in found["data"] if not each.local}
    assert kinds == {"azureml", "https", "wasbs"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "iris.csv").write_text("1,2\n")
    (tmp_path / "model").mkdir()
    (tmp_path / "src").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("noun", "text", "expected"),
    [
        ("data", "name: a\nlocal_path: iris.csv\n", {"type": "uri_file", "path": "/iris.csv"}),
        ("data", "name: a\npath: file:iris.csv\n", {"type": "uri_file", "path": "/iris.csv"}),
        ("data", "name: a\npath: model\ntype: MLTable\n", {"type": "mltable", "path": "/model"}),
        ("data", "name: a\npaths: [{file: iris.csv}]\n", {"type": "uri_file", "path": "/iris.csv"}),
        ("data", "name: a\npath: x/y.csv\ndatastore: azureml:d\n", {"type": "uri_file", "path": "azureml://datastores/d/paths/x/y.csv"}),
        ("data", f"name: a\npath: {BLOB}x\ndatastore: d\n", {"type": "uri_folder", "path": f"{BLOB}x"}),
        ("data", "name: a\npath: https://h/a.csv\n", {"type": "uri_file", "path": "https://h/a.csv"}),
        ("model", "name: a\nlocal_path: model\nmodel_format: MLflow\n", {"type": "mlflow_model", "path": "/model"}),
        ("model", "name: a\nmodel_uri: https://h/m\n", {"type": "custom_model", "path": "https://h/m"}),
        ("model", "name: a\npath: runs:/j/model\n", {"type": "custom_model", "path": "azureml://jobs/j/outputs/artifacts/paths/model"}),
        ("datastore", "name: a\ntype: Local\npath: model\n", {"type": "local", "path": "/model"}),
        (
            "component",
            "name: a\ncommand: python {x}\ncode: {local_path: src}\nenvironment: azureml:e:1\ninputs: {x: {type: path}}\n",
            {"type": "command", "code": "/src", "inputs": {"x": {"type": "uri_folder"}}},
        ),
    ],
)  # fmt: skip
def test_the_words_of_each_generation(folder: Path, noun: str, text: str, expected: dict[str, object]) -> None:
    read = read_asset(noun, text, "a.yml", folder, DiskReader())
    here = {key: f"{folder}{value}" if str(value).startswith("/") else value for key, value in expected.items()}
    assert {key: read.document[key] for key in here} == here


def test_versions_and_tags_stay_as_they_are_written(folder: Path) -> None:
    text = "name: a\nversion: 1.10\npath: iris.csv\ndescription: d\ntags: {n: 1, e: }\n"
    read = read_asset("data", text, "a.yml", folder, DiskReader())
    assert (read.version, read.description, read.tags) == ("1.10", "d", {"n": "1", "e": ""})
    assert set(read.document) == {"type", "path"}


@pytest.mark.parametrize(
    ("noun", "text", "code", "words"),
    [
        ("data", "name: a\npath: gone.csv\n", "missing-file", "gone.csv"),
        ("data", "name: a\npath: iris.csv\ntype: uri_folder\n", "wrong-file-type", "is a file"),
        ("data", "name: a\npath: azureml:b:1\n", "bad-value", "registered already"),
        ("data", "name: a\npath: azureml:b c\n", "bad-value", "names nothing"),
        ("data", "path: iris.csv\n", "missing-key", "no name"),
        ("data", "name: a/b\npath: iris.csv\n", "bad-name", "data asset"),
        ("data", "name: a\nversion: 1:2\npath: iris.csv\n", "bad-name", "version"),
        ("data", "name: a\npaths: [{file: a}, {file: b}]\n", "cannot-upgrade", "one file"),
        ("data", "name: a\npath: iris.csv\ntypo: 1\n", "unknown-key", "typo"),
        ("model", "name: a\n", "missing-key", "no path"),
        ("datastore", "name: a\ntype: local\npath: gone\n", "missing-file", "no folder"),
        ("datastore", "name: a\ntype: locall\npath: model\n", "bad-value", "locall"),
        ("component", "name: a\ncommand: x\ncode: gone\nenvironment: azureml:e:1\n", "missing-file", "gone"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(folder: Path, noun: str, text: str, code: str, words: str) -> None:
    with pytest.raises(InvalidSpecError) as refused:
        read_asset(noun, text, "a.yml", folder, DiskReader())
    found = refused.value.diagnostics[0]
    assert (found.code, found.place.file) == (code, "a.yml")
    assert words in found.message


@pytest.mark.parametrize(
    ("noun", "text"),
    [("data", "command: x\nenvironment: current\n"), ("model", "name: a\nimage: x\n"), ("datastore", "$schema: x/model.schema.json\nname: a\n")],
)  # fmt: skip
def test_a_file_of_another_kind_is_refused(folder: Path, noun: str, text: str) -> None:
    with pytest.raises(UnsupportedError, match=f"not a {noun}"):
        read_asset(noun, text, "a.yml", folder, DiskReader())


def test_secrets_of_a_datastore_go_no_further(folder: Path) -> None:
    text = (
        "name: a\ntype: azure_blob\naccount_name: n\ncontainer_name: c\n"
        "credentials: {account_key: s3cr3t, sas_token: s3cr3t, client_secret: s3cr3t, certificate: s3cr3t, tenant_id: t}\n"
    )
    read = read_asset("datastore", text, "a.yml", folder, DiskReader())
    assert "s3cr3t" not in repr(read)
    assert read.document["credentials"] == {"tenant_id": "t"}
    assert "account_key" in read.notices[0]


SCOPE = "subscriptions/S/resourcegroups/G/workspaces/W"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("azureml:iris:1", AssetReference("iris", "1")),
        ("azureml:iris@latest", AssetReference("iris", label="latest")),
        ("azureml:iris", AssetReference("iris")),
        (f"azureml://{SCOPE}/data/iris/versions/3", AssetReference("iris", "3", noun="data")),
        (f"azureml:/{SCOPE}/models/m/versions/3", AssetReference("m", "3", noun="model")),
        ("azureml://locations/L/workspaces/W/data/iris/labels/prod", AssetReference("iris", None, "prod", "data")),
        ("azureml://registries/r/models/m/versions/1", AssetReference("m", "1", noun="model", registry="r")),
        ("models:/m/4", AssetReference("m", "4", noun="model")),
        ("models:/m/latest", AssetReference("m", noun="model")),
        ("models:/m@champion", AssetReference("m", label="champion", noun="model")),
        (f"{BLOB}a/b c.csv", DatastorePath("workspaceblobstore", "a/b c.csv")),
        (f"azureml://{SCOPE}/datastores/d/paths/a/", DatastorePath("d", "a/")),
        ("azureml://datastores/d", DatastorePath("d")),
        ("azureml://jobs/j/outputs/artifacts/paths/outputs/m", JobPath("j", path="outputs/m")),
        ("azureml://jobs/j/outputs/model", JobPath("j", "model")),
        (f"azureml://{SCOPE}/jobs/j/outputs/model/paths/x", JobPath("j", "model", "x")),
        ("runs:/j/outputs/m", JobPath("j", path="outputs/m")),
    ],
)
def test_every_way_to_name_a_thing(text: str, found: Reference) -> None:
    assert is_reference(text)
    assert parse_reference(text) == found


@pytest.mark.parametrize(
    "text", ["azureml:", "azureml:a b", "azureml:a:b:c", "azureml:a@b:c", "azureml://x/y/z", "runs:/"]
)
def test_what_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_reference(text)


PARTS = st.text(st.characters(categories=["L", "N"], include_characters="-_."), min_size=1)


@given(
    PARTS,
    PARTS,
    st.text(st.characters(exclude_characters="\n", categories=["L", "N", "P"])).filter(
        lambda path: path == path.strip()
    ),
)
def test_an_address_is_read_back(datastore: str, output: str, path: str) -> None:
    for one in (DatastorePath(datastore, path), JobPath(datastore, output, path)):
        assert parse_reference(str(one)) == one


@given(st.text())
def test_any_text_is_read_or_refused(text: str) -> None:
    for form in (text, f"azureml:{text}", f"azureml://{text}", f"models:/{text}"):
        try:
            parse_reference(form)
        except UsageError:
            continue
