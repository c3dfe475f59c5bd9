"""What a conda file asks for, and which two of them are the same environment."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import MlcliError, UnsupportedError
from mlcli.domain.redaction import masked
from mlcli.environments._definition import Definition, definition, fingerprint
from mlcli.environments._pip_lines import what_counts

OWN = f"{sys.version_info.major}.{sys.version_info.minor}"


def conda(*dependencies: Any, **others: Any) -> dict[str, Any]:
    return {"name": "x", "channels": ["conda-forge"], "dependencies": list(dependencies), **others}


@pytest.mark.parametrize(
    ("entry", "request_"),
    [
        ("python", OWN),
        ("python=3.10", "3.10"),
        ("python=3.10.*", "3.10"),
        ("python==3.10", "3.10"),
        ("python=3.7.5", "3.7.5"),
        ("python 3.10", "3.10"),
        ("python = 3.10", "3.10"),
        ("python>=3.9", ">=3.9"),
        ("python >=3.9, <3.12", ">=3.9,<3.12"),
        ("python~=3.9", "~=3.9"),
        ("python=3.10=h12debd9_1", "3.10"),
        ("python 3.10.2 h12debd9_1", "3.10.2"),
        ("conda-forge::python=3.10", "3.10"),
        ("python[version='>=3.8']", ">=3.8"),
        ("python=*", OWN),
    ],
)
def test_pythons(entry, request_):
    assert definition(conda(entry)).python == request_


def test_without_a_python_it_is_the_one_that_runs_mlcli():
    assert definition(conda()).python == OWN
    assert definition({}).python == OWN


@pytest.mark.parametrize("entry", ["python=3.8|3.9", "python=>3", "python!!", "=3", "python>=3.9,", "python=3.*.1"])
def test_what_cannot_be_read_is_said(entry):
    with pytest.raises(UnsupportedError, match="cannot be read") as caught:
        definition(conda(entry))
    assert caught.value.hint


def test_pip_brings_what_conda_brings_with_it():
    assert definition(conda("pip=21.2", {"pip": ["numpy"]})).lines == ("numpy", "pip==21.2.*", "setuptools", "wheel")
    assert definition(conda("pip==21.2.4")).lines[0] == "pip==21.2.4"
    assert definition(conda("pip>=20")).lines[0] == "pip>=20"
    assert definition(conda({"pip": ["numpy"]})).lines == ("numpy",)
    assert definition(conda({"pip": ["azureml-defaults"]})).lines == ("azureml-defaults", "setuptools<81")
    assert definition(conda({"pip": ["azureml-core", "setuptools==70"]})).lines == ("azureml-core", "setuptools==70")


def test_the_pip_section_is_a_requirements_file():
    lines = [
        "numpy>=1.24 ; python_version > '3.8'",
        "# a comment",
        "",
        "--extra-index-url=https://x/simple",
        " six # six ",
    ]
    found = definition(conda({"pip": lines})).lines
    assert found == ("numpy>=1.24 ; python_version > '3.8'", "--extra-index-url=https://x/simple", "six")
    assert definition(conda({"pip": None})).lines == ()


def test_options_that_uv_has_other_words_for():
    wanted = definition(conda({"pip": ["--pre", "-U", "--trusted-host intern", "--trusted-host=two", "six"]}))
    assert wanted.requirements_file == "six\n"
    assert wanted.prereleases
    assert wanted.trusted_hosts == ("intern", "two")


@pytest.mark.parametrize("line", ["-i https://x", "--index-url=https://x", "--index-url https://x", "--no-index"])
def test_lines_that_replace_the_index(line):
    assert definition(conda({"pip": [line]})).names_index
    assert not definition(conda({"pip": ["--extra-index-url https://x"]})).names_index


def test_conda_packages_are_refused_with_the_same_under_pip():
    with pytest.raises(UnsupportedError, match=r"numpy=1\.21, conda-forge::scipy>=1, cudatoolkit") as caught:
        definition(conda("python=3.8", "numpy=1.21", "conda-forge::scipy>=1", "cudatoolkit", "pip"))
    assert [line.strip() for line in caught.value.details[2:]] == ["- numpy==1.21.*", "- scipy>=1", "- cudatoolkit"]


@pytest.mark.parametrize(
    "dependencies", ["numpy", {"pip": []}, [3.10], [["pip"]], [{"conda": ["x"]}], [{"pip": [], "x": 1}]]
)
def test_odd_shapes_are_refused(dependencies):
    with pytest.raises(UnsupportedError) as caught:
        definition({"dependencies": dependencies})
    assert caught.value.hint


@pytest.mark.parametrize(
    "line",
    ["-r requirements.txt", "-rrequirements.txt", "--requirement=requirements.txt", "-c pins.txt", "-e .", "-e ./package[dev]",
     "./package", "../x.whl", "dist/x-1.0-py3-none-any.whl", "package @ file:./x.whl", "--find-links wheels"],
)  # fmt: skip
def test_relative_paths_are_refused(line):
    with pytest.raises(UnsupportedError, match="relative path"):
        definition(conda({"pip": [line]}))


@pytest.mark.parametrize(
    "line",
    ["-r /a/requirements.txt", "-e /a/package[dev]", "/a/x.whl", "package @ file:///a/x.whl", "--find-links=https://x/y",
     "git+https://github.com/a/b@v1#egg=b", "-e git+ssh://git@host/a/b#egg=b", "https://host/x.whl", "a @ https://host/x.whl",
     "numpy==1.0; sys_platform == 'linux'", "numpy[extra]>=1,<2", "torch==2.0+cpu", "--no-binary=:all:"],
)  # fmt: skip
def test_absolute_paths_addresses_and_packages_are_taken(line):
    assert definition(conda({"pip": [line]})).lines == (line,)


def test_names_and_channels_do_not_count():
    first = definition(conda("python=3.10", {"pip": ["six"]}))
    second = definition(
        {"name": "other", "channels": ["defaults"], "dependencies": ["python=3.10.*", {"pip": ["six"]}]}
    )
    assert fingerprint(first) == fingerprint(second)


def test_python_lines_and_their_order_count():
    base = Definition("3.10", ("a", "b"))
    others = [replace(base, python="3.11"), replace(base, lines=("b", "a")), replace(base, lines=("a", "b", "c"))]
    assert len({fingerprint(one) for one in [base, *others]}) == 4


def test_requirements_files_count_by_content(tmp_path):
    (tmp_path / "nested.txt").write_text("six\n")
    (tmp_path / "requirements.txt").write_text("-r nested.txt\nnumpy\n")
    wanted = definition(conda({"pip": [f"-r {tmp_path}/requirements.txt"]}))
    first = fingerprint(wanted)
    assert fingerprint(wanted) == first
    (tmp_path / "nested.txt").write_text("six<2\n")
    assert fingerprint(wanted) != first


def test_where_requirements_files_lie_and_what_they_remark_does_not_count(tmp_path):
    found = set()
    for folder, remark in (("one", ""), ("two", "# why\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.whl").write_text("a wheel")
        (tmp_path / folder / "c.txt").write_text(f"{remark}numpy<3\n")
        (tmp_path / folder / "r.txt").write_text(f"{remark}six\n-c c.txt\n./x.whl\n")
        found.add(fingerprint(definition(conda({"pip": [f"-r {tmp_path}/{folder}/r.txt"]}))))
    assert len(found) == 1
    (tmp_path / "two" / "c.txt").write_text("numpy<2\n")
    assert fingerprint(definition(conda({"pip": [f"-r {tmp_path}/two/r.txt"]}))) not in found


@pytest.mark.parametrize("option", ["-r", "-c"])
def test_requirements_files_that_name_each_other_are_refused(tmp_path, option):
    (tmp_path / "sub").mkdir()
    (tmp_path / "a.txt").write_text(f"{option} sub/b.txt\n")
    (tmp_path / "sub" / "b.txt").write_text(f"{option} ../sub/../a.txt\n")
    with pytest.raises(UnsupportedError, match="names itself"):
        fingerprint(definition(conda({"pip": [f"{option} {tmp_path}/a.txt"]})))


def test_a_changed_project_folder_is_another_environment(tmp_path):
    (tmp_path / "pyproject.toml").write_text("")
    wanted = definition(conda({"pip": [str(tmp_path)]}))
    first = fingerprint(wanted)
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_text("")
    os.utime(tmp_path / "pyproject.toml", (2_000_000_000, 2_000_000_000))
    (tmp_path / "nowhere").symlink_to("missing")
    assert fingerprint(wanted) == first
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    changed = fingerprint(wanted)
    (tmp_path / "pyproject.toml").rename(tmp_path / "setup.cfg")
    assert len({first, changed, fingerprint(wanted)}) == 3


def test_an_editable_project_is_the_same_whatever_changes_in_it(tmp_path):
    (tmp_path / "a.py").write_text("")
    wanted = definition(conda({"pip": [f"-e {tmp_path}"]}))
    first = fingerprint(wanted)
    before = what_counts(wanted.lines, copied=True)
    (tmp_path / "a.py").write_text("a = 1\n")
    assert fingerprint(wanted) == first
    assert what_counts(wanted.lines, copied=True) != before, "an image has a copy of it"


@pytest.mark.parametrize("line", ["-r {}/missing.txt", "{}/missing.whl", "{}/missing"])
def test_files_that_are_not_there_are_said(tmp_path, line):
    with pytest.raises(UnsupportedError, match="missing") as caught:
        fingerprint(definition(conda({"pip": [line.format(tmp_path)]})))
    assert caught.value.hint


def test_conda_variables_are_kept():
    assert definition(conda(variables={"A": 1, "B": "x"})).variables == {"A": "1", "B": "x"}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("--index-url https://user:s3cret@host/simple", "--index-url https://***@host/simple"),
        ("x @ https://host/x.whl?sv=1&sig=s3cret&a=b", "x @ https://host/x.whl?sv=1&sig=***&a=b"),
        ("x @ https://host/x.whl?access_token=s3cret", "x @ https://host/x.whl?access_token=***"),
        ("numpy==1.0", "numpy==1.0"),
        ("git+ssh://git@host/a", "git+ssh://***@host/a"),
    ],
)
def test_secrets_are_not_shown(text, shown):
    assert masked(text) == shown


@given(st.text(max_size=40))
def test_any_text_is_a_definition_or_an_error_of_ours(text):
    for entry in (text, f"python{text}", f"pip{text}", {"pip": [text]}):
        with suppress(MlcliError):
            assert "\n" not in definition({"dependencies": [entry]}).python


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=8), lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["pip", "dependencies", "x"]), inner, max_size=3), max_leaves=8))  # fmt: skip
def test_any_shape_is_a_definition_or_an_error_of_ours(shape):
    with suppress(MlcliError):
        definition({"dependencies": shape})
