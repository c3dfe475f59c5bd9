"""What ``conda_file`` and ``lock`` may name: a conda environment, a requirements file, a lock; each known by what it holds."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import InvalidSpecError
from mlcli.domain.job import EnvironmentSpec, RegistryLogin
from mlcli.spec.conda import conda_text, is_lock
from mlcli.spec.standalone import standalone
from tests.spec.files import BASE, Files
from tests.spec.reading import read_job

EXPLICIT = "# platform: linux-64\n@EXPLICIT\nhttps://channel.example/noarch/a-1.0-0.conda#" + "a" * 32 + "\n"
CONDA_LOCK = "version: 1\nmetadata:\n  channels: []\npackage:\n- name: a\n  version: '1'\n"
PIXI_LOCK = "version: 6\nenvironments:\n  default:\n    packages: {}\npackages:\n- conda: https://x/a-1-0.conda\n"
CONDA = "channels: [./mine, conda-forge/label/dev, /abs, defaults]\ndependencies: [python, numpy, {pip: [-r r.txt]}]\n"
REQUIREMENTS = "\ufeff# ours\nnumpy>=1  # fast\n-r more.txt\n-e ./lib\nsix==1.16 \\\n    --hash=sha256:abc\n--index-url https://i.example\n"
LINES = [
    "numpy>=1",
    "-r /job/env/more.txt",
    "-e /job/env/lib",
    "six==1.16     --hash=sha256:abc",
    "--index-url https://i.example",
]


def environment(text: str, **files: str) -> EnvironmentSpec:
    found: dict[str, str | bytes] = {f"/job/env/{name.replace('_', '.')}": content for name, content in files.items()}
    return read_job(f"command: ls\nenvironment: {text}\n", "job.yml", BASE, Files(found)).job.environment


def test_a_requirements_file_is_its_lines_in_its_own_folder():
    expected = {"dependencies": [{"pip": LINES}]}
    assert environment("{conda_file: env/requirements.txt}", requirements_txt=REQUIREMENTS).conda == expected
    assert environment("{conda_file: env/requirements}", requirements=REQUIREMENTS).conda == expected


@pytest.mark.parametrize("text", [EXPLICIT, CONDA_LOCK, PIXI_LOCK])
@pytest.mark.parametrize("key", ["conda_file", "lock"])
def test_a_lock_is_known_by_what_it_holds(text, key):
    found = environment(f"{{{key}: env/what.txt}}", what_txt=text)
    assert found == EnvironmentSpec(lock=text)


def test_a_lock_beside_a_conda_file_pins_it():
    found = environment("{conda_file: env/c.yml, lock: env/l.yml}", c_yml=CONDA, l_yml=CONDA_LOCK)
    assert found.lock == CONDA_LOCK
    assert found.conda
    assert found.conda["channels"] == ["/job/env/mine", "conda-forge/label/dev", "/abs", "defaults"]
    assert found.conda["dependencies"] == ["python", "numpy", {"pip": ["-r /job/env/r.txt"]}]


def test_a_text_file_of_conda_is_conda():
    assert conda_text("dependencies:\n- numpy\n", "environment.txt", BASE).conda == {"dependencies": ["numpy"]}


def test_files_may_stand_in_the_job_itself():
    assert environment(json.dumps({"conda_file": EXPLICIT})).lock == EXPLICIT
    assert environment(json.dumps({"lock": PIXI_LOCK, "conda_file": {"dependencies": []}})).lock == PIXI_LOCK


def test_a_job_that_stands_by_itself_holds_its_lock():
    files = Files({"/job/c.txt": EXPLICIT})
    job = read_job("command: ls\nenvironment: {conda_file: c.txt}\n", "job.yml", BASE, files).job
    made = standalone(job)
    assert made["environment"] == {"lock": EXPLICIT}
    again = read_job(json.dumps(made), "job.yml", BASE, Files()).job
    assert again.environment == job.environment


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{lock: env/no.txt}", "missing-file"),
        ("{lock: env/c.yml}", "wrong-type"),
        ("{lock: 'https://x.example/lock'}", "unreadable-file"),
        ("{conda_file: 'https://x.example/c.yml'}", "unreadable-file"),
        ("{image: x, registry: {username: me}}", "missing-key"),
        ("{image: x, registry: {address: a, pasword: b}}", "unknown-key"),
        ("{image: python 3}", "bad-name"),
    ],
)
def test_what_cannot_be_is_told_where_it_stands(text, code):
    with pytest.raises(InvalidSpecError) as caught:
        environment(text, c_yml=CONDA)
    assert caught.value.diagnostics[0].code == code
    assert caught.value.diagnostics[0].place.line == 2


@pytest.mark.parametrize(
    "name",
    [
        "python",
        "python:3.12-slim",
        "host.example:5000/a/b__c.d--e:V1.0_x",
        "Host/a",
        "[::1]:5000/a",
        "a@sha256:" + "0" * 64,
        "a:1@sha256:" + "0" * 64,
        "sha256:" + "0" * 64,
        "0123456789ab",
    ],
)
def test_names_that_images_can_have(name):
    assert environment(f"{{image: '{name}'}}").image == name


@pytest.mark.parametrize(
    "name", ["", " ", "X Y", "Python", "a/", "/a", "a//b", "a:", "a:b:c", "a@sha256:0", "a..b", "-a"]
)
def test_names_that_no_image_can_have(name):
    with pytest.raises(InvalidSpecError) as caught:
        environment(f"{{image: '{name}'}}")
    assert [found.code for found in caught.value.diagnostics] == ["bad-name"]


def test_one_slip_is_told_once():
    with pytest.raises(InvalidSpecError) as caught:
        environment("{imagee: x}")
    assert [(found.code, found.hint) for found in caught.value.diagnostics] == [
        ("unknown-key", "did you mean 'image'?")
    ]


def test_a_login_names_its_passwords_variable():
    found = environment("{image: x, registry: {address: host.example, username: me, password_env: WORD}}").registry
    assert found == RegistryLogin("host.example", "me", password_env="WORD")
    assert found.secret({"WORD": "hidden"}) == "hidden"
    assert found.secret({}) is None
    assert RegistryLogin("host.example", "me", "plain").secret({}) == "plain"
    assert "plain" not in repr(RegistryLogin("host.example", "me", "plain"))


requirement = st.from_regex(r"[a-z][a-z0-9-]{0,8}(==[0-9]{1,2}\.[0-9]{1,2})?", fullmatch=True)
spacing = st.sampled_from(["", "  # why", "\n", "\n\n# a line\n"])


@given(st.lists(st.tuples(requirement, spacing), min_size=1, max_size=6))
def test_requirement_lines_survive_comments_and_blank_lines(lines):
    text = "".join(f"{line}{after}\n" for line, after in lines)
    found: Any = conda_text(text, "requirements.txt", BASE).conda
    assert found["dependencies"][0]["pip"] == [line for line, _ in lines]


@given(st.text(max_size=60))
def test_no_text_breaks_the_recognition(text):
    assert is_lock(text) in {True, False}
    try:
        found = conda_text(text, "some", BASE)
    except InvalidSpecError:
        return
    assert (found.conda is None) is (found.lock is not None)
