"""What a run ran in, as an environment that can be asked for: the same versions again, none chosen anew. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from mlcli.domain.errors import UnsupportedError
from mlcli.domain.job import EnvironmentSpec
from mlcli.domain.redaction import MASK

# pip options that say where packages come from or how they are taken, not which
_KEPT_OPTIONS = (
    "-i",
    "--index-url",
    "--extra-index-url",
    "--no-index",
    "-f",
    "--find-links",
    "--trusted-host",
    "--no-binary",
    "--only-binary",
)


def pinned_environment(record: Mapping[str, Any], asked: EnvironmentSpec | None = None) -> EnvironmentSpec:
    """The environment that makes again exactly what ``record`` (a run's ``environment.json``) tells.

    ``asked``: what that run's job asked for; it lends what the record does not hold: the variables of the conda file, the
    indexes of its pip section, the registry's login. An image is pinned by its digest, or by the engine's id where it
    was never in a registry; a virtual environment by Python's version and ``==`` lines; a conda environment by an
    explicit lock and ``==`` lines. Raises UnsupportedError when the record pins nothing, or masks what it would need.
    """
    asked = asked or EnvironmentSpec()
    kept = EnvironmentSpec(registry=asked.registry, environment_variables=asked.environment_variables)
    image = record.get("digest") or record.get("image")
    if image:
        return replace(kept, image=image)
    resolved = _unmasked(record.get("resolved") or ())
    packages = _unmasked(record.get("packages") or ())
    conda = {**_conda_part(asked), "dependencies": [{"pip": [*_options(asked), *resolved]}]}
    if packages:
        return replace(kept, conda=conda, lock="\n".join(["@EXPLICIT", *packages, ""]))
    python = record.get("python")
    if not python:
        raise UnsupportedError(
            f"that run's environment was not pinned: it ran in {record.get('description') or 'what was there'}",
            hint="only an environment that mlcli built, or an image, can be made again",
        )
    return replace(kept, conda={**conda, "dependencies": [f"python=={python}", *conda["dependencies"]]})


def _conda_part(asked: EnvironmentSpec) -> dict[str, Any]:
    variables = (asked.conda or {}).get("variables")
    return {"variables": variables} if variables else {}


def _options(asked: EnvironmentSpec) -> list[str]:
    """The pip options of the conda file that are needed to find the same packages again."""
    return [line for line in _pip_lines(asked) if line.replace("=", " ", 1).split()[0] in _KEPT_OPTIONS]


def _pip_lines(asked: EnvironmentSpec) -> Iterable[str]:
    for entry in (asked.conda or {}).get("dependencies") or ():
        if isinstance(entry, Mapping):
            yield from (str(line).strip() for line in entry.get("pip") or () if str(line).strip())


def _unmasked(lines: Iterable[str]) -> list[str]:
    found = list(lines)
    hidden = [line for line in found if MASK in line]
    if hidden:
        raise UnsupportedError(
            f"the run's record does not keep the credential that {hidden[0]} was installed with",
            hint="name the packages in the job's own conda file, with the credential in pip's or git's configuration",
        )
    return found
