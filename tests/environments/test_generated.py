"""What goes to the engine, as text: the Dockerfile that mlcli writes, and what it reads of a person's own. No engine."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import BuildContext, EnvironmentSpec
from mlcli.domain.settings import Settings
from mlcli.environments._build import explained
from mlcli.environments._carried import carried
from mlcli.environments._context import context
from mlcli.environments._dockerfile_text import bases, instructions, without_comments
from mlcli.environments._generated import addition, dockerfile, settings
from mlcli.environments.dockerfile import DockerfileBuilder

CONDA = {"name": "n", "dependencies": ["python=3.11", "pip=23", {"pip": ["alpha==1.0", "beta"]}]}

GENERATED = """\
# Made by mlcli: what the conda file asks for, on top of debian:12.
# requirements.txt:
#   alpha==1.0
#   beta
#   pip==23.*
#   setuptools
#   wheel
FROM debian:12 AS build
ARG STAGE=build
LABEL mlcli.stage=$STAGE
USER 0
WORKDIR /opt/mlcli/build
COPY . .
RUN . ./settings.sh && mkdir -p /opt/mlcli/python && if ! uv --version; then \
python3 -m pip install --quiet --prefix ./tool uv && uv --version; fi
RUN . ./settings.sh && if [ -f carried.sh ]; then . ./carried.sh; fi
RUN . ./settings.sh && uv venv --no-project --python 3.11 /opt/mlcli/environment
RUN . ./settings.sh && uv pip install --python /opt/mlcli/environment/bin/python --requirements requirements.txt

FROM debian:12
COPY --from=build /opt/mlcli/python /opt/mlcli/python
COPY --from=build /opt/mlcli/environment /opt/mlcli/environment
ENV PATH=/opt/mlcli/environment/bin:$PATH VIRTUAL_ENV=/opt/mlcli/environment
"""


# --- the generated Dockerfile -----------------------------------------------------------------------------------------


def test_the_generated_dockerfile_can_be_read():
    assert dockerfile("debian:12", addition(CONDA)) == GENERATED
    assert bases(GENERATED, {}) == ("debian:12",)


def test_a_person_can_print_it_without_an_engine(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere")
    builder = DockerfileBuilder(tmp_path, Settings(environments_base_image="base:1"))
    (tmp_path / "Dockerfile").write_text("FROM mine\nRUN true\n")
    own = EnvironmentSpec(build=BuildContext(str(tmp_path)))
    assert builder.dockerfile(EnvironmentSpec(image="debian:12", conda=CONDA)) == GENERATED
    assert builder.dockerfile(EnvironmentSpec(conda=CONDA)) == GENERATED.replace("debian:12", "base:1")
    assert builder.dockerfile(own) == "FROM mine\nRUN true\n"
    both = str(builder.dockerfile(EnvironmentSpec(build=own.build, conda=CONDA)))
    assert both.startswith("FROM mine\nRUN true\n\n# Made by mlcli")


def test_the_images_own_python_serves_where_none_is_asked_for():
    text = dockerfile("x", addition({"dependencies": [{"pip": ["alpha"]}]}))
    assert "uv venv --no-project /opt/mlcli/environment" in text
    text = dockerfile("x", addition({"dependencies": ["python>=3.9,<3.12"]}))
    assert "--python '>=3.9,<3.12' /opt" in text
    assert "requirements.txt" not in text  # nothing to install


def test_what_is_secret_in_a_line_is_not_in_the_dockerfile():
    added = addition({"dependencies": ["python", {"pip": ["--index-url https://ali:s3same@example.org/simple", "a"]}]})
    assert "s3same" not in dockerfile("x", added)
    assert "s3same" in added.definition.requirements_file  # the file in the first stage, which is thrown away


def test_packages_of_conda_are_made_by_the_script(tmp_path):
    added = addition(
        {"channels": ["conda-forge", f"file://{tmp_path}"], "dependencies": ["numpy=1.26", {"pip": ["a"]}]}
    )
    text = dockerfile("x", added)
    assert "conda_install.py" in text
    assert "CONDA_PREFIX=/opt/mlcli/environment" in text
    assert added.conda == ("numpy=1.26", "python")
    assert added.channels == ("conda-forge", f"file:///opt/mlcli/build/files/0/{tmp_path.name}")
    assert added.files == {f"files/0/{tmp_path.name}": tmp_path}
    locked = addition(None, "@EXPLICIT\nhttps://example.org/noarch/a-1-0.conda\n")
    assert locked.by_conda
    assert locked.conda == ()


def _sourced(text: str, name: str) -> str:
    done = subprocess.run(["sh", "-c", f'{text}printf %s "${name}"'], capture_output=True, text=True, check=True)
    return done.stdout


def test_what_uv_is_told_reaches_the_build_but_what_is_only_here():
    told = {
        "UV_DEFAULT_INDEX": "https://ali:p'w$x@example.org/simple",
        "UV_INDEX": "file:///opt/simple extra=https://example.org/extra /also/here",
        "UV_FIND_LINKS": "/opt/wheels",
        "HTTPS_PROXY": "http://proxy:3128",
        "AWS_SECRET_ACCESS_KEY": "not for the build",
        "PATH": "/mine",
    }
    text = settings(addition(CONDA), told, certificates=True)
    assert _sourced(text, "UV_DEFAULT_INDEX") == told["UV_DEFAULT_INDEX"]
    assert _sourced(text, "UV_INDEX") == "extra=https://example.org/extra"
    assert _sourced(text, "HTTPS_PROXY") == "http://proxy:3128"
    assert _sourced(text, "SSL_CERT_FILE") == "/opt/mlcli/build/certificates.pem"
    assert _sourced(text, "PATH").startswith("/opt/mlcli/build:/opt/mlcli/build/tool/bin:/")
    assert "UV_FIND_LINKS" not in text
    assert "not for the build" not in text
    own = {"dependencies": ["python", {"pip": ["-i https://example.org/other", "--pre", "--trusted-host example.org"]}]}
    text = settings(addition(own), told, certificates=False)
    assert "UV_DEFAULT_INDEX" not in text  # a line of the file beats the configuration
    assert _sourced(text, "UV_PRERELEASE") == "allow"
    assert _sourced(text, "UV_INSECURE_HOST") == "example.org"


def test_files_of_this_machine_are_carried_and_the_lines_name_their_copies(tmp_path):
    (tmp_path / "a.txt").write_text("-c b.txt\n-r sub/c.txt\nnumpy \\\n  >=1  # continued\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "c.txt").write_text("./lib\n")
    lines, files = carried(
        [f"-r {tmp_path}/a.txt", f"-e {tmp_path}/project", f"x @ file://{tmp_path}/x.whl", "y"], "/in"
    )
    assert [re.sub(r"\s+", " ", line) for line in lines] == [
        "-c /in/files/0/b.txt",
        "/in/files/1/lib",
        "numpy >=1",
        "/in/files/2/project",
        "x @ file:///in/files/3/x.whl",
        "y",
    ]
    assert [path.relative_to(tmp_path) for path in files.values()] == [
        Path("b.txt"),
        Path("sub/lib"),
        Path("project"),
        Path("x.whl"),
    ]
    with pytest.raises(UnsupportedError, match="cannot be read"):
        carried([f"-r {tmp_path}/none.txt"], "/in")
    (tmp_path / "sub" / "c.txt").write_text("-r ../sub/../sub/c.txt\n")
    with pytest.raises(UnsupportedError, match="names itself"):
        carried([f"-r {tmp_path}/a.txt"], "/in")


# --- a person's Dockerfile --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "arguments", "found"),
    [
        ("FROM python:3.12", {}, ("python:3.12",)),
        ("from --platform=linux/amd64 python:3.12 as one\nFROM one\nFROM scratch", {}, ("python:3.12",)),
        ("ARG V=3.12\nFROM python:${V}-slim", {}, ("python:3.12-slim",)),
        ("ARG V=3.12\nFROM python:$V", {"V": "3.11"}, ("python:3.11",)),
        ('ARG V="3.12"\nFROM "python:${V:-1}"', {}, ("python:3.12",)),
        ("FROM python${TAG:-:3.9}", {}, ("python:3.9",)),
        ("ARG TAG=x\nFROM python${TAG:+:3.9}", {}, ("python:3.9",)),
        ("FROM a\nARG V=3\nFROM b:$V", {}, ("a", "b:")),
        (
            "FROM a AS x\nCOPY --from=x /1 /1\nCOPY --chown=1 --from=tools:2 /1 /\nCOPY --from=0 /1 /",
            {},
            ("a", "tools:2"),
        ),
        ("# escape=`\nFROM `\n a\nRUN echo \\\nFROM b", {}, ("a", "b")),
        ("# FROM a\nRUN x \\\n# FROM b\n FROM c\nFROM d", {}, ("d",)),
        ("", {}, ()),
    ],
)
def test_the_images_that_a_dockerfile_starts_from(text, arguments, found):
    assert bases(text, arguments) == found


def test_instructions_are_numbered_as_the_engine_counts_its_steps():
    text = '# syntax=x\n\nARG A=1\nFROM a\nRUN one \\\n\n  # between\n  two\n\tCMD ["x"]\nRUN last \\'
    assert [(one.line, one.keyword, one.rest) for one in instructions(text)] == [
        (3, "ARG", "A=1"),
        (4, "FROM", "a"),
        (5, "RUN", "one two"),
        (9, "CMD", '["x"]'),
        (10, "RUN", "last"),
    ]


def test_comments_of_a_dockerfile_are_no_part_of_what_is_built():
    plain = "# escape=`\nFROM a\nRUN one `\n  two\n"
    noted = "# escape=`\n# why\n\nFROM a\nRUN one `\n  # between\n  two  \n\n"
    assert without_comments(noted) == without_comments(plain) != without_comments(plain.removeprefix("# escape=`\n"))
    here = "FROM a\nRUN <<END\n# a line of the file\nEND\n"
    assert without_comments(here) == here


@given(st.text(alphabet=st.sampled_from(list("FROM COPYARG--from=x:$V{}\\\n#\"'`\t ")), max_size=200))
def test_no_text_is_too_strange_to_be_looked_at(text):
    numbered = [one.line for one in instructions(text)]
    assert numbered == sorted(numbered)
    assert all(1 <= number <= len(text.splitlines()) for number in numbered)
    assert len(set(bases(text, {"V": "1"}))) == len(bases(text, {"V": "1"}))


@given(st.lists(st.from_regex(r"[A-Z]{2,6} [a-z0-9 ]{1,20}", fullmatch=True), max_size=6))
def test_every_plain_line_is_an_instruction(written):
    assert [f"{one.keyword} {one.rest}" for one in instructions("\n\n".join(written))] == [
        f"{line.partition(' ')[0]} {line.partition(' ')[2].strip()}" for line in written
    ]


# --- the context ------------------------------------------------------------------------------------------------------


def test_a_context_is_sent_as_docker_build_sends_it(tmp_path):
    import tarfile

    folder = tmp_path / "context"
    (folder / "keep").mkdir(parents=True)
    (folder / "skip").mkdir()
    for name in ("Dockerfile", "a.py", "keep/b.py", "skip/c.py", "skip/wanted.py", "d.log"):
        (folder / name).write_text(f"# {name}\n")
    (folder / "link").symlink_to("a.py")
    (folder / ".dockerignore").write_text("skip\n!skip/wanted.py\n*.log\nDockerfile\n")
    (tmp_path / "other").write_text("FROM outside\n")
    with context(BuildContext(str(folder))).pack() as sent, tarfile.open(fileobj=sent) as tar:
        assert sorted(tar.getnames()) == sorted(
            [".dockerignore", "Dockerfile", "a.py", "keep", "keep/b.py", "link", "skip/wanted.py"]
        )
    with context(BuildContext(str(folder), "../other")).pack() as sent, tarfile.open(fileobj=sent) as tar:
        (extra,) = (name for name in tar.getnames() if "mlcli" in name)
        assert tar.extractfile(extra).read() == b"FROM outside\n"  # type: ignore[union-attr]
        assert extra in tar.extractfile(".dockerignore").read().decode()  # type: ignore[union-attr]


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    (tmp_path / "Dockerfile").write_bytes(b"FROM \xff\xfe")
    with pytest.raises(UnsupportedError, match="cannot be read"):
        context(BuildContext(str(tmp_path)))


@pytest.mark.parametrize(
    ("printed", "told"),
    [
        ("write /usr/x: no space left on device", "the engine's disk is full"),
        ("COPY failed: stat /var/lib/docker/tmp/x/y.txt: no such file", "COPY failed"),
        (
            "COPY failed: file not found in build context or excluded by .dockerignore: stat y.txt: file does not exist",
            "y.txt is not",
        ),
        ("The command '/bin/sh -c a: b' returned a non-zero code: 3", "the command ended with code 3"),
        ("something new", "something new"),
    ],
)
def test_the_engines_words_in_plain_ones(printed, told):
    what, hint = explained(printed, printed)
    assert what.startswith(told)
    assert hint
