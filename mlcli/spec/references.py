"""How a file or a command line names what a workspace keeps: data, models, components, datastores, what jobs have made. Pure.

Read are Azure ML's short forms (``azureml:iris:1``, ``azureml:iris@latest``), its addresses (``azureml://datastores/...``,
with or without subscription and workspace before it) and MLflow's (``runs:/JOB/path``, ``models:/NAME/1``).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mlcli.domain.errors import UsageError

ARTIFACTS = "artifacts"
_LATEST = "latest"
_NOUNS = {"data": "data", "models": "model", "components": "component", "environments": "environment"}
_SCOPE = r"(?:/?(?:subscriptions|locations)/.+?/)?"
_DATASTORE = re.compile(rf"{_SCOPE}datastores/(?P<datastore>[^/]+)(?:/paths(?:/(?P<path>.*))?)?/?", re.IGNORECASE)
_JOB = re.compile(
    rf"{_SCOPE}jobs/(?P<job>[^/]+)/outputs/(?P<output>[^/]+)(?:/paths(?:/(?P<path>.*))?)?/?", re.IGNORECASE
)
_ASSET = re.compile(
    rf"(?:/?registries/(?P<registry>[^/]+)/|{_SCOPE})(?P<noun>{'|'.join(_NOUNS)})/(?P<name>[^/]+)"
    r"(?:/versions/(?P<version>[^/]+)|/labels/(?P<label>[^/]+))?/?",
    re.IGNORECASE,
)
_SHORT = re.compile(r"(?P<name>[^:@/\s]+)(?::(?P<version>[^:@/\s]+)|@(?P<label>[^:@/\s]+))?")
_RUN = re.compile(r"runs:/+(?P<job>[^/]+)(?:/(?P<path>.*))?")
_MODEL = re.compile(r"models:/+(?P<name>[^/@]+)(?:/(?P<version>[^/]+)|@(?P<label>[^/]+))?")
_AZUREML = re.compile(r"(?:azureml:)+(?://)?", re.IGNORECASE)
WORDS = {"data": "data asset"}
"""What a sentence calls a noun, where it is not the noun itself."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,254}")


@dataclass(frozen=True)
class AssetReference:
    """A registered thing by name. At most one of ``version`` and ``label``; neither means the latest. ``noun``: what it is,
    where the reference says so.
    """

    name: str
    version: str | None = None
    label: str | None = None
    noun: str | None = None
    registry: str | None = None

    def __str__(self) -> str:
        return self.name + (f":{self.version}" if self.version else f"@{self.label}" if self.label else "")


@dataclass(frozen=True)
class DatastorePath:
    """A path in a datastore; empty: all of it."""

    datastore: str
    path: str = ""

    def __str__(self) -> str:
        return f"azureml://datastores/{self.datastore}/paths/{self.path}"


@dataclass(frozen=True)
class JobPath:
    """What a job has made: ``path`` in one of its named outputs, or in its artifacts (``outputs/``, ``logs/``, ...)."""

    job: str
    output: str = ARTIFACTS
    path: str = ""

    def __str__(self) -> str:
        return f"azureml://jobs/{self.job}/outputs/{self.output}/paths/{self.path}"


Reference = AssetReference | DatastorePath | JobPath


def is_reference(text: str) -> bool:
    """Whether a path names something that is kept under a name, and is no local path and no address of the web."""
    return text.lower().startswith(("azureml:", "runs:/", "models:/"))


def parse_reference(text: str) -> Reference:
    """What a reference names. Raises UsageError for a text that is none."""
    text = text.strip()
    run = _RUN.fullmatch(text)
    if run is not None:
        return JobPath(run["job"], path=run["path"] or "")
    model = _MODEL.fullmatch(text)
    if model is not None:
        version = None if model["version"] == _LATEST else model["version"]
        return AssetReference(model["name"], version, model["label"], "model")
    rest = _AZUREML.sub("", text, count=1)
    address = _DATASTORE.fullmatch(rest)
    if address is not None:
        return DatastorePath(address["datastore"], address["path"] or "")
    job = _JOB.fullmatch(rest)
    if job is not None:
        return JobPath(job["job"], job["output"], job["path"] or "")
    asset = _ASSET.fullmatch(rest)
    if asset is not None:
        noun = _NOUNS[asset["noun"].lower()]
        return AssetReference(asset["name"], asset["version"], asset["label"], noun, asset["registry"])
    return parse_name(rest, f"{text!r} names nothing that is kept here")


def parse_name(text: str, refusal: str | None = None) -> AssetReference:
    """``name``, ``name:version`` or ``name@label``. Raises UsageError that begins with ``refusal``."""
    short = _SHORT.fullmatch(_AZUREML.sub("", text.strip(), count=1))
    if short is None:
        hint = "write azureml:NAME:VERSION, azureml:NAME@latest or azureml://datastores/NAME/paths/PATH"
        raise UsageError(refusal or f"{text!r} does not name a registered thing", hint=hint)
    return AssetReference(**short.groupdict())


def checked_name(name: str, noun: str, what: str = "name") -> str:
    """The same, when references can name it. Raises UsageError."""
    if _NAME.fullmatch(name) is None:
        rule = "it has 1 to 255 letters, digits, '-', '_' and '.', and starts with a letter or a digit"
        raise UsageError(f"{name!r} cannot be the {what} of a {WORDS.get(noun, noun)}", hint=rule)
    return name


def checked_label(label: str) -> str:
    """The same, when ``name@label`` can name it. Raises UsageError."""
    if label == _LATEST or _SHORT.fullmatch(f"name@{label}") is None:
        hint = "the newest version is @latest by itself" if label == _LATEST else "a label is one word"
        raise UsageError(f"{label!r} cannot be put on a version", hint=hint)
    return label
