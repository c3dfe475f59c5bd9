"""Git facts of a source folder: never fatal, never slow, never a credential.

Which facts, and the variables that override them, are Azure ML's (``AZUREML_GIT_*``).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from mlcli.domain.run import GitFacts

if TYPE_CHECKING:
    import subprocess

TIMEOUT_S = 2.0

# what a caller's git (a hook, an alias) leaves in the environment, and would have us look at another repository
_LOCAL = {
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_CONFIG",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
}
_OVERRIDES = ("REPOSITORY_URI", "BRANCH", "COMMIT", "DIRTY", "BUILD_ID", "BUILD_URI")
_STATUS = ("status", "--porcelain=v2", "--branch", "--", ".")
_REMOTE = ("ls-remote", "--get-url")
_HEAD = ("rev-parse", "HEAD", "--abbrev-ref", "HEAD")
_SECRET_PARAMETER = re.compile(r"sig|token|key|secret|pass|auth|code|credential", re.IGNORECASE)
_SCP_LIKE = re.compile(r"(?:(?P<user>[^@/\s]*)@)(?P<rest>[^/\s@]+:.*)")


def git_facts(folder: Path, environment: Mapping[str, str] | None = None) -> GitFacts:
    """The facts of the repository around ``folder``: empty where there is none, or no git, or no answer in time.

    ``environment`` (default: this process's) may hold ``AZUREML_GIT_REPOSITORY_URI``, ``_BRANCH``, ``_COMMIT``,
    ``_DIRTY``, ``_BUILD_ID`` and ``_BUILD_URI``, which win. ``dirty`` speaks of ``folder`` alone, as Azure ML's does.
    """
    environment = os.environ if environment is None else environment
    found = _asked(folder, environment) if _in_repository(folder) else GitFacts()
    told = {name: environment.get(f"AZUREML_GIT_{name}") or None for name in _OVERRIDES}
    repository = told["REPOSITORY_URI"] or found.repository
    build = told["BUILD_URI"]
    return GitFacts(
        repository=without_credentials(repository) if repository else None,
        branch=told["BRANCH"] or found.branch,
        commit=told["COMMIT"] or found.commit,
        dirty=found.dirty if told["DIRTY"] is None else told["DIRTY"].strip().lower() in {"1", "true", "yes"},
        build_id=told["BUILD_ID"],
        build_uri=without_credentials(build) if build else None,
    )


def without_credentials(url: str) -> str | None:
    """The URL without user information, and without parameters that look like secrets; None when it cannot be read.

    The user of ssh (``git@host:path``) is a name and stays; a password behind it goes.
    """
    if "://" not in url:
        scp = _SCP_LIKE.fullmatch(url)
        return f"{scp['user'].partition(':')[0]}@{scp['rest']}" if scp else url
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    user, at, host = parts.netloc.rpartition("@")
    if at and parts.scheme.endswith("ssh"):
        host = f"{user.partition(':')[0]}@{host}"
    kept = [pair for pair in parts.query.split("&") if not _SECRET_PARAMETER.search(pair.partition("=")[0])]
    return urlunsplit((parts.scheme, host, parts.path, "&".join(kept), ""))


def _in_repository(folder: Path) -> bool:
    """Whether a ``.git`` stands here or above (a file in a linked worktree or a submodule)."""
    folder = folder.absolute()
    return any((parent / ".git").exists() for parent in (folder, *folder.parents))


def _asked(folder: Path, environment: Mapping[str, str]) -> GitFacts:
    """Two processes side by side; the tree's state may take too long where the head's never does."""
    clean = {name: value for name, value in environment.items() if name not in _LOCAL}
    # no lock taken from the person's own git, no question asked, no translation
    clean |= {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
    status, remote = _answers(folder, (_STATUS, _REMOTE), clean)
    if status is None:
        (head,) = _answers(folder, (_HEAD,), clean)
        oid, _, name = (head or "").strip().partition("\n")
        return GitFacts(_url(remote), None if name == "HEAD" else name or None, oid or None)
    commit, branch, dirty = parse_status(status)
    return GitFacts(_url(remote), branch, commit, dirty)


def parse_status(text: str) -> tuple[str | None, str | None, bool]:
    """(commit, branch, dirty) of ``git status --porcelain=v2 --branch``. No commit yet, no branch (detached): None."""
    headers: dict[str, str] = {}
    dirty = False
    for line in text.splitlines():
        if line.startswith("# "):
            name, _, value = line[2:].partition(" ")
            headers[name] = value
        else:
            dirty = True
    commit, branch = headers.get("branch.oid"), headers.get("branch.head")
    return (None if commit == "(initial)" else commit, None if branch == "(detached)" else branch, dirty)


def _url(answer: str | None) -> str | None:
    """Git echoes the remote's name when no remote has a URL."""
    text = (answer or "").strip()
    return text if "/" in text or ":" in text else None


def _answers(folder: Path, commands: Sequence[Sequence[str]], environment: Mapping[str, str]) -> list[str | None]:
    """What each git command printed, run at the same time; None for one that failed or took too long."""
    import subprocess

    started: list[subprocess.Popen[str] | None] = []
    for command in commands:
        try:
            started.append(
                subprocess.Popen(
                    ["git", *command],
                    cwd=folder,
                    env=dict(environment),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.DEVNULL,
                    text=True,
                    encoding="utf-8",
                    errors="replace",
                )
            )
        except OSError:  # no git, no such folder
            started.append(None)
    return [None if process is None else _answer(process) for process in started]


def _answer(process: subprocess.Popen[str]) -> str | None:
    import subprocess

    with process:
        try:
            text, _ = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            return None
    return text if process.returncode == 0 else None
