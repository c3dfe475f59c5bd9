"""Environments, and what happens to them, as JSON: between two processes of mlcli that may be on different machines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from mlcli.domain import errors
from mlcli.domain.job import BuildContext, EnvironmentSpec
from mlcli.ports.environments import Activation, BuiltEnvironment

_TUPLES = ("argv_prefix", "prepend_path", "append_path", "unset", "resolved", "packages")


def spec_record(spec: EnvironmentSpec) -> dict[str, Any]:
    """A spec, without who may pull its image."""
    return asdict(replace(spec, registry=None))


def spec_of(record: Mapping[str, Any]) -> EnvironmentSpec:
    """The spec of :func:`spec_record`."""
    build = record["build"]
    return EnvironmentSpec(**{**record, "build": BuildContext(**build) if build else None})


def activation_of(record: Mapping[str, Any]) -> Activation:
    """The activation of ``asdict``; what is left out has its default."""
    fields: dict[str, Any] = {name: tuple(value) if name in _TUPLES else value for name, value in record.items()}
    return Activation(**fields)


def built_of(record: Mapping[str, Any]) -> BuiltEnvironment:
    """The built environment of ``asdict``."""
    return BuiltEnvironment(**{**record, "resolved": tuple(record["resolved"])})


def error_record(error: errors.MlcliError) -> dict[str, Any]:
    """What was told of an error."""
    return {
        "kind": type(error).__name__,
        "message": error.message,
        "hint": error.hint,
        "details": list(error.details),
    }


def error_of(record: Mapping[str, Any]) -> errors.MlcliError:
    """The error of :func:`error_record`; one that takes more than was told becomes its base."""
    kinds = (errors.UnsupportedError, errors.EnvironmentBuildError, errors.StoreError)
    kind = next((kind for kind in kinds if kind.__name__ == record["kind"]), errors.MlcliError)
    return kind(record["message"], hint=record["hint"], details=tuple(record["details"]))
