"""The Dockerfile that puts what a conda file asks for on top of an image, and the files that go with it. Pure.

Two stages: the first installs, the second takes the result over. So neither uv nor an index's credentials come into the
image or its history; the first stage is thrown away.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlcli.domain.redaction import masked
from mlcli.environments._carried import carried
from mlcli.environments._definition import Definition, definition, needs_conda, parts
from mlcli.environments._host_python import SCRIPT

HOME = "/opt/mlcli"
ENVIRONMENT = f"{HOME}/environment"
BUILD = f"{HOME}/build"
STAGE_LABEL = "mlcli.stage"
_WORDS_OF_INDEXES = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL", "UV_FIND_LINKS")
_WORDS = (
    *_WORDS_OF_INDEXES,
    "UV_INSECURE_HOST",
    "UV_INDEX_STRATEGY",
    "UV_HTTP_TIMEOUT",
    "UV_PYTHON_DOWNLOADS",
    *("ALL_PROXY", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "all_proxy", "https_proxy", "http_proxy", "no_proxy"),
)
_CERTIFICATES = "certificates.pem"


@dataclass(frozen=True)
class Addition:
    """What is put on top. ``python``: a version request for uv, None: the image's own. ``lines``: pip's, as they read in
    the build; ``files``: what they name, name in the build's folder -> file or folder here.

    ``conda``: conda's packages, ``channels`` where they come from, ``lock`` what pins them; all empty for Python and pip.
    """

    python: str | None
    definition: Definition
    files: Mapping[str, Path] = field(default_factory=dict)
    conda: tuple[str, ...] = ()
    channels: tuple[str, ...] = ()
    lock: str | None = None

    @property
    def by_conda(self) -> bool:
        """Whether conda's packages are asked for, and not just Python's."""
        return bool(self.conda) or self.lock is not None


def addition(conda: Mapping[str, Any] | None, lock: str | None = None) -> Addition:
    """What a conda file adds to an image. Raises UnsupportedError for a line that cannot be followed."""
    asked = parts(conda or {})
    lines, files = carried(asked.lines, BUILD)
    if needs_conda(conda, lock):
        return _by_conda(conda or {}, lock, Definition("", lines, asked.variables), files)
    wanted = definition(conda or {})
    company = wanted.lines[len(asked.lines) :]  # pip, where the file names it
    named = any(re.match(r"(?:\S+::)?python(?![\w.-])", package.strip(), re.IGNORECASE) for package in asked.conda)
    python = wanted.python if named else None
    return Addition(python, Definition(wanted.python, (*lines, *company), asked.variables), files)


def dockerfile(base: str, added: Addition) -> str:
    """The whole Dockerfile. What is secret in the lines that it shows is masked; the build reads them from a file."""
    shown = "".join(f"#   {masked(line)}\n" for line in added.definition.lines)
    return (
        f"# Made by mlcli: what the conda file asks for, on top of {base}.\n"
        + (f"# requirements.txt:\n{shown}" if shown else "")
        + f"FROM {base} AS build\n"
        "ARG STAGE=build\n"
        f"LABEL {STAGE_LABEL}=$STAGE\n"
        "USER 0\n"
        f"WORKDIR {BUILD}\n"
        "COPY . .\n"
        f"{_installation(added)}"
        "\n"
        f"FROM {base}\n"
        f"COPY --from=build {HOME}/python {HOME}/python\n"
        f"COPY --from=build {ENVIRONMENT} {ENVIRONMENT}\n"
        f"ENV PATH={ENVIRONMENT}/bin:$PATH {'CONDA_PREFIX' if added.by_conda else 'VIRTUAL_ENV'}={ENVIRONMENT}\n"
    )


def settings(added: Addition, told: Mapping[str, str], *, certificates: bool) -> str:
    """A shell file for the first stage: where uv is, and what the person told it about indexes and proxies.

    ``told``: the person's environment variables for uv. What is only on this machine is left out. ``certificates``:
    whether a file of them is beside it.
    """
    wanted = added.definition
    words = {name: _reachable(name, value) for name, value in told.items() if name in _WORDS}
    if wanted.names_index:
        words.pop("UV_DEFAULT_INDEX", None)  # a line of the file beats the configuration, as with pip
    words = {"UV_INDEX_STRATEGY": "unsafe-best-match", **{name: value for name, value in words.items() if value}}
    words |= {
        "PATH": f"{BUILD}:{BUILD}/tool/bin:$PATH",
        "UV_PYTHON_INSTALL_DIR": f"{HOME}/python",
        "UV_NO_CACHE": "1",
        "UV_NO_PROGRESS": "1",
        "UV_NO_WRAP": "1",
        "UV_LINK_MODE": "copy",
        "UV_COMPILE_BYTECODE": "1",
    }
    if wanted.prereleases:
        words["UV_PRERELEASE"] = "allow"
    if wanted.trusted_hosts:
        words["UV_INSECURE_HOST"] = " ".join([*words.get("UV_INSECURE_HOST", "").split(), *wanted.trusted_hosts])
    if certificates:
        words["SSL_CERT_FILE"] = f"{BUILD}/{_CERTIFICATES}"
    return "".join(f"export {name}={_shell(value)}\n" for name, value in words.items())


def _installation(added: Addition) -> str:
    """The steps of the first stage. uv is carried along; an image that it does not run in may have pip to get another."""
    other_uv = "python3 -m pip install --quiet --prefix ./tool uv && uv --version"
    steps = [
        f"mkdir -p {HOME}/python && if ! uv --version; then {other_uv}; fi",
        f"if [ -f {SCRIPT} ]; then . ./{SCRIPT}; fi",
    ]
    install = f"uv pip install --python {ENVIRONMENT}/bin/python --requirements requirements.txt"
    if added.by_conda:
        steps += [
            "uv venv --no-project ./rattler && uv pip install --python ./rattler/bin/python 'py-rattler>=0.28,<1'",
            "./rattler/bin/python conda_install.py < request.json && cat locked.txt >> requirements.txt",
            f"if [ -s requirements.txt ]; then {install}; fi",
        ]
    else:
        version = f" --python {shlex.quote(added.python)}" if added.python else ""
        steps += [f"uv venv --no-project{version} {ENVIRONMENT}", *([install] if added.definition.lines else [])]
    return "".join(f"RUN . ./settings.sh && {step}\n" for step in steps)


def _by_conda(conda: Mapping[str, Any], lock: str | None, wanted: Definition, files: dict[str, Path]) -> Addition:
    from mlcli.environments._conda_definition import conda_definition

    asked = conda_definition(conda, lock)
    channels = []
    for channel in asked.channels:
        path = re.sub(r"^file://", "", channel)
        if path.startswith("/"):
            name = f"files/{len(files)}/{Path(path).name}"
            files[name] = Path(path)
            channels.append(f"file://{BUILD}/{name}")
        else:
            channels.append(channel)
    return Addition(None, wanted, files, tuple(asked.specs), tuple(channels), lock)


def _reachable(name: str, value: str) -> str:
    """Without indexes and folders that only this machine has."""
    if name not in _WORDS_OF_INDEXES:
        return value
    separator = "," if name == "UV_FIND_LINKS" else " "
    far = (one for one in re.split(r"[\s,]+", value) if re.match(r"(?:[\w-]+=)?https?://", one))
    return separator.join(far)


def _shell(value: str) -> str:
    """Quoted for the shell, but for a variable that stands in it on purpose."""
    return f'"{value}"' if value.endswith(":$PATH") else shlex.quote(value)
