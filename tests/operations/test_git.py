"""Git facts of real repositories: true where there are some, empty where there are none, never fatal, never a secret."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcli.domain.run import GitFacts
from mlcli.operations import git as git_module
from mlcli.operations.git import git_facts, parse_status, without_credentials

CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "AZUREML_"))}


def git(folder: Path, *arguments: str) -> str:
    own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull}
    identity = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, env={**CLEAN, **own}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path):
    git(tmp_path, "init", "-q")
    (tmp_path / "src").mkdir()
    (tmp_path / "src" / "main.py").write_text("print('hello')\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_a_clean_repository(repository):
    git(repository, "remote", "add", "origin", "https://example.org/team/project.git")
    facts = git_facts(repository / "src", CLEAN)
    assert facts == GitFacts(
        "https://example.org/team/project.git", "main", git(repository, "rev-parse", "HEAD"), dirty=False
    )
    assert facts.as_properties()["azureml.git.dirty"] == "False"


def test_a_changed_file_or_a_new_one_makes_it_dirty(repository):
    (repository / "src" / "main.py").write_text("print('changed')\n")
    assert git_facts(repository, CLEAN).dirty is True
    git(repository, "checkout", "-q", ".")
    assert git_facts(repository, CLEAN).dirty is False
    (repository / "new.txt").write_text("new")
    assert git_facts(repository, CLEAN).dirty is True
    assert git_facts(repository / "src", CLEAN).dirty is False, "it speaks of the source folder alone"


def test_a_detached_head_has_a_commit_and_no_branch(repository):
    git(repository, "checkout", "-q", "--detach")
    facts = git_facts(repository, CLEAN)
    assert facts.branch is None
    assert facts.commit == git(repository, "rev-parse", "HEAD")


def test_a_repository_without_a_commit(tmp_path):
    git(tmp_path, "init", "-q")
    assert git_facts(tmp_path, CLEAN) == GitFacts(None, "main", None, dirty=False)


def test_the_upstream_of_the_branch_is_the_repository(repository):
    git(repository, "remote", "add", "fork", "git@example.org:me/project.git")
    git(repository, "config", "branch.main.remote", "fork")
    git(repository, "config", "branch.main.merge", "refs/heads/main")
    assert git_facts(repository, CLEAN).repository == "git@example.org:me/project.git"


def test_a_linked_worktree(repository, tmp_path_factory):
    tree = tmp_path_factory.mktemp("trees") / "other"
    git(repository, "worktree", "add", "-q", "-b", "topic", str(tree))
    assert git_facts(tree, CLEAN).branch == "topic"


def test_no_repository_starts_no_process(tmp_path):
    assert git_facts(tmp_path, {"PATH": "/nonexistent"}) == GitFacts()


def test_a_folder_that_is_not_there(tmp_path):
    assert git_facts(tmp_path / "nowhere", CLEAN) == GitFacts()


def test_no_git_on_the_machine(repository, tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path_factory.mktemp("empty")))
    assert git_facts(repository) == GitFacts()


def test_a_broken_repository(tmp_path):
    (tmp_path / ".git").write_text("gitdir: /nonexistent\n")
    assert git_facts(tmp_path, CLEAN) == GitFacts()


def test_a_callers_git_variables_do_not_lead_elsewhere(repository, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    git(other, "init", "-q", "-b", "elsewhere")
    hook = {
        "GIT_DIR": str(other / ".git"),
        "GIT_WORK_TREE": str(other),
        "GIT_INDEX_FILE": str(other / ".git" / "index"),
    }
    assert git_facts(repository, {**CLEAN, **hook}).branch == "main"


def test_variables_win(repository):
    told = {
        "AZUREML_GIT_REPOSITORY_URI": "https://token@example.org/x.git",
        "AZUREML_GIT_BRANCH": "release",
        "AZUREML_GIT_COMMIT": "0123",
        "AZUREML_GIT_DIRTY": "True",
        "AZUREML_GIT_BUILD_ID": "77",
        "AZUREML_GIT_BUILD_URI": "https://ci.example.org/build?id=77&token=abc",
    }
    assert git_facts(repository, {**CLEAN, **told}) == GitFacts(
        "https://example.org/x.git",
        "release",
        "0123",
        dirty=True,
        build_id="77",
        build_uri="https://ci.example.org/build?id=77",
    )


def test_a_slow_status_still_gives_branch_and_commit(repository, tmp_path_factory, monkeypatch):
    """A git whose ``status`` never ends, as on a network home: an executable, not a mock."""
    real = subprocess.run(["sh", "-c", "command -v git"], check=True, capture_output=True, text=True).stdout.strip()
    folder = tmp_path_factory.mktemp("bin")
    slow = folder / "git"
    slow.write_text(f'#!/bin/sh\ncase "$1" in status) exec sleep 600;; esac\nexec {real} "$@"\n')
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(git_module, "TIMEOUT_S", 1.0)
    facts = git_facts(repository)
    assert (facts.branch, facts.dirty) == ("main", None)
    assert facts.commit == git(repository, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://user:s3cret@example.org/x.git", "https://example.org/x.git"),
        ("https://s3cret@example.org/x.git", "https://example.org/x.git"),
        ("https://example.org:8443/x.git?access_token=s3cret&a=b", "https://example.org:8443/x.git?a=b"),
        ("https://user:s3cret@odd@example.org/x", "https://example.org/x"),
        ("https://example.org/x#s3cret", "https://example.org/x"),
        ("ssh://git@example.org/x.git", "ssh://git@example.org/x.git"),
        ("ssh://git:s3cret@example.org:22/x.git", "ssh://git@example.org:22/x.git"),
        ("git@example.org:team/x.git", "git@example.org:team/x.git"),
        ("git:s3cret@example.org:team/x.git", "git@example.org:team/x.git"),
        ("../bare.git", "../bare.git"),
        ("/srv/git/bare.git", "/srv/git/bare.git"),
        ("https://[::1/s3cret", None),
    ],
)
def test_credentials_in_urls(url, shown):
    assert without_credentials(url) == shown


@given(
    scheme=st.sampled_from(["https", "http", "ssh", "git+ssh"]),
    user=st.from_regex(r"[a-z]{0,5}", fullmatch=True),
    password=st.from_regex(r"[A-Z0-9]{8,20}", fullmatch=True),
    path=st.from_regex(r"(/[a-z]{1,6}){0,3}", fullmatch=True),
)
def test_no_password_survives(scheme, user, password, path):
    assert password not in (without_credentials(f"{scheme}://{user}:{password}@example.org{path}") or "")


@given(st.text(max_size=80))
def test_any_text_is_survived(text):
    without_credentials(text)
    parse_status(text)
