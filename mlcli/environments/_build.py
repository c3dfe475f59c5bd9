"""One ``docker build`` over the engine's API: its lines as they come, and which step of the Dockerfile failed."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING

from mlcli import docker_engine
from mlcli.domain.errors import EnvironmentBuildError
from mlcli.domain.redaction import MASK, is_secret_name, masked
from mlcli.environments._contents import LABEL
from mlcli.environments._dockerfile_text import instructions
from mlcli.environments._engine import Image, RefusedError, advice, inspect, lines, lost, streaming

if TYPE_CHECKING:
    from docker import DockerClient

LAST_LINES = 15
_STEP = re.compile(r"Step (\d+)/(\d+) : (.*)")
_PARSE_ERROR = re.compile(r"dockerfile parse error(?: on)? line (\d+): (.*)", re.IGNORECASE)
_CODE = re.compile(r"The command .* returned a non-zero code: (\d+)$", re.DOTALL)
# what the engine says -> (what happened, what to do); {0} is the first thing in brackets
_CAUSES: tuple[tuple[re.Pattern[str], str, str], ...] = (
    (
        re.compile(r"no space left on device|disk quota exceeded", re.IGNORECASE),
        "the engine's disk is full",
        "free some space for the engine, e.g. docker system prune, then submit again",
    ),
    (
        re.compile(r"exec: \"/bin/sh\"|/bin/sh: no such file", re.IGNORECASE),
        "the image has no shell, which RUN needs",
        "choose a base image with /bin/sh, or write RUN as a list",
    ),
    (
        re.compile(
            r"(?:COPY|ADD) failed: (?:file not found in build context[^:]*: )?(?:stat )?([^:]+): file does not exist"
        ),
        "{0} is not in the build context",
        "check the path, which is relative to the context folder, and the lines of .dockerignore",
    ),
    (
        re.compile(r"(?:COPY|ADD) failed: forbidden path outside the build context: (\S+)"),
        "{0} is outside of the build context",
        "put it into the context folder, or set the build's 'path' to a folder above both",
    ),
    (
        re.compile(r"the --(\w+) option requires BuildKit|unknown flag: (\w+)", re.IGNORECASE),
        "the Dockerfile uses an option of BuildKit, which the engine's API does not offer",
        "do without it; or build the image with docker build, and name it with 'image'",
    ),
)


@dataclass(frozen=True)
class Build:
    """What the engine is asked to build. ``text``: the Dockerfile, called ``shown``, in the context as ``dockerfile``.

    ``tag`` and the label with ``key`` are given to the image at once when it is whole, and never before.
    """

    text: str
    shown: str
    dockerfile: str
    tag: str
    key: str
    arguments: Mapping[str, str] = field(default_factory=dict)


class BuildFailedError(EnvironmentBuildError):
    """A step failed. ``printed``: every line of that step."""

    def __init__(self, message: str, *, hint: str, details: tuple[str, ...], printed: tuple[str, ...]) -> None:
        super().__init__(message, hint=hint, details=details)
        self.printed = printed


def build(client: DockerClient, wanted: Build, context: IO[bytes], log: Callable[[str], None]) -> Image:
    """Build it. Raises BuildFailedError for a step, EnvironmentBuildError for what is not a step's fault."""
    steps = _Steps(wanted)
    secrets = [value for name, value in wanted.arguments.items() if value and is_secret_name(name)]
    try:
        with streaming(f"{wanted.shown} could not be built"):
            for line in _lines(client, wanted, context):
                shown = _without(secrets, line)
                steps.take(shown)
                log(shown)
    except RefusedError as refused:
        words = _without(secrets, str(refused)).replace(f" ({wanted.dockerfile})", "")
        log(f"error: {words}")
        raise steps.failed(words) from refused
    image = inspect(client, wanted.tag)
    if image is None or (image.labels or {}).get(LABEL) != wanted.key:
        raise lost(f"{wanted.shown} could not be built")
    return image


def _lines(client: DockerClient, wanted: Build, context: IO[bytes]) -> Iterator[str]:
    from docker.errors import APIError

    try:
        items = client.api.build(
            fileobj=context,
            custom_context=True,
            dockerfile=wanted.dockerfile,
            tag=wanted.tag,
            labels={LABEL: wanted.key},
            buildargs=dict(wanted.arguments),
            rm=True,
            forcerm=True,
            decode=True,
        )
        yield from lines(items)
    except APIError as refused:  # it does not begin: the Dockerfile cannot be read
        raise RefusedError(masked(docker_engine.explanation(refused))) from refused


def _without(secrets: Iterable[str], line: str) -> str:
    for secret in secrets:
        line = line.replace(secret, MASK)
    return line


class _Steps:
    """Where the build is."""

    def __init__(self, wanted: Build) -> None:
        self._wanted = wanted
        self._number = 0
        self._header = ""
        self._printed: list[str] = []

    def take(self, line: str) -> None:
        """A line of the build."""
        if step := _STEP.match(line):
            self._number, self._header, self._printed = int(step[1]), line, []
        else:
            self._printed.append(line)

    def failed(self, words: str) -> EnvironmentBuildError:
        """The error: which step, at which line of the file, why, what to do, and what it printed last."""
        if wrong := _PARSE_ERROR.search(words):
            return EnvironmentBuildError(
                f"{self._wanted.shown}:{wrong[1]}: {wrong[2]}",
                hint="correct that line, then submit again",
                details=(self._line(int(wrong[1])),),
            )
        printed = (*self._printed, words)
        what, hint = explained("\n".join(printed), words)
        return BuildFailedError(
            f"{self._place()}: {what}",
            hint=hint,
            details=tuple(filter(None, (self._header, *printed[-LAST_LINES:]))),
            printed=printed,
        )

    def _place(self) -> str:
        if not self._number:
            return f"{self._wanted.shown} could not be built"
        known = instructions(self._wanted.text)
        at = f":{known[self._number - 1].line}" if self._number <= len(known) else ""
        return f"{self._wanted.shown}{at}: {self._header.partition(' : ')[0].lower()} failed"

    def _line(self, number: int) -> str:
        every = self._wanted.text.splitlines()
        return every[number - 1].strip() if number <= len(every) else ""


def explained(printed: str, words: str) -> tuple[str, str]:
    """(what happened, what to do) from what a step printed and the engine's last words. Pure."""
    for pattern, message, hint in _CAUSES:
        if found := pattern.search(printed):
            return message.format(*found.groups()), hint
    if code := _CODE.search(words):
        return f"the command ended with code {code[1]}", "correct that step, then submit again"
    return words, advice(words, "read the build log")
