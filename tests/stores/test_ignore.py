"""Ignore rules: what git says of a random tree with random rules, we say too."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mlcli.stores.ignore import Rules, add_file, git_root, parse, read_rules, rules_above

_GIT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_CEILING_DIRECTORIES": "/",
}


def git_says(root: Path) -> set[bytes]:
    """The files that git would add."""
    answer = subprocess.run(
        ["git", "ls-files", "-z", "-o", "-c", "--exclude-standard"], cwd=root, env=_GIT, capture_output=True, check=True
    )
    return {path for path in answer.stdout.split(b"\0") if path}


def we_say(root: Path) -> set[bytes]:
    """The files that the rules let through, walked as a snapshot walks."""

    def walk(folder: bytes, outer: Rules | None) -> set[bytes]:
        text = read_rules(root / os.fsdecode(folder) / ".gitignore")
        rules = outer if text is None else add_file(outer, folder, text)
        kept: set[bytes] = set()
        for entry in os.scandir(os.fsencode(root) + b"/" + folder):
            path = folder + entry.name
            if entry.name == b".git" or (rules is not None and rules.ignores(path, is_folder=entry.is_dir())):
                continue
            kept |= walk(path + b"/", rules) if entry.is_dir() else {path}
        return kept

    return walk(b"", None)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("repository")
    subprocess.run(["git", "init", "-q", "."], cwd=root, env=_GIT, check=True)
    return root


NAMES = st.sampled_from(["a", "b", "ab", "a.py", "b.txt", "build", "keep", "x y", "é", "[a]", "A1", "#c", "!d", "a\\b"])
PATHS = st.lists(NAMES, min_size=1, max_size=4).map("/".join)
PIECES = st.sampled_from(
    [
        "a",
        "b",
        "*",
        "**",
        "?",
        "/",
        "[ab]",
        "[!a]",
        "[^b]",
        "[a-c]",
        "[[:alpha:]]",
        "[[:digit:]x]",
        "[]a]",
        "[a",
        "[z-a]",
        "\\",
        "\\*",
        ".py",
        "build",
        "keep",
        " ",
        "é",
        "!",
        "#",
        "/**/",
        "**/",
        "[a\\]]",
        "[[:no:]]",
        "[-a]",
        "[a-]",
        "x y",
    ]
)
LINES = st.one_of(
    st.lists(PIECES, min_size=1, max_size=5).map("".join),
    PATHS,
    st.tuples(
        st.sampled_from(["!", "/", "!/", ""]), PATHS, st.sampled_from(["/", "/*", "/**", "", " ", "\\ ", "\r"])
    ).map("".join),
    st.sampled_from(
        ["*", "!*/", "!*.py", "*.txt", "!keep/", "build/", "/*", "!/keep", "", "# no", "!", "/", "**/a", "a/**/b"]
    ),
)
# Against its manual, git lets two stars after plain text span folders: it skips the text, and takes them to stand first.
STARS_AFTER_TEXT = re.compile(r"(?=.*/)[^*?\[\\]*[^*?\[\\/]\*\*")
IGNORE_FILES = st.dictionaries(
    st.sampled_from(["", "a/", "a/b/", "keep/"]),
    st.lists(LINES.filter(lambda line: STARS_AFTER_TEXT.match(line.lstrip("!")) is None), max_size=6),
    max_size=3,
)


def plant(root: Path, paths: list[str], ignore_files: dict[str, list[str]]) -> None:
    """Make the tree anew: a path that would go through a file is left out."""
    subprocess.run(["git", "clean", "-qffdx"], cwd=root, env=_GIT, check=True)
    for path in paths:
        file = root / path
        if any(above.is_file() for above in file.parents) or file.is_dir():
            continue
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"")
    for folder, lines in ignore_files.items():
        if (root / folder).is_dir():
            (root / folder / ".gitignore").write_bytes("\n".join(lines).encode())


@settings(max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(paths=st.lists(PATHS, min_size=1, max_size=14), ignore_files=IGNORE_FILES)
def test_the_rules_are_gits(repository: Path, paths: list[str], ignore_files: dict[str, list[str]]) -> None:
    plant(repository, paths, ignore_files)
    assert we_say(repository) == git_says(repository)


@pytest.mark.parametrize(
    "lines",
    [
        ["*", "!*/", "!*.py"],
        ["build/", "!keep/"],
        ["/*", "!/keep", "/keep/*", "!/keep/a.py"],
        ["a", "!a/b.txt"],
        ["**/build", "!keep/build"],
        ["*.py[co]", "[[:upper:]]*"],
        ["foo\\ ", "x\\ y"],
        ["\\!d", "\\#c"],
        ["a/**", "!a/b/", "!a/b/**"],
        ["\ufeffbuild"],
    ],
    ids=" ".join,
)
def test_the_usual_lines(repository: Path, lines: list[str]) -> None:
    names = ["a", "b", "keep", "build"]
    leaves = ["a.py", "b.txt", "c.pyc", "A1", "x y", "!d", "#c"]
    paths = [f"{one}/{two}/{leaf}" for one in names for two in names for leaf in leaves] + leaves
    plant(repository, paths, {"": lines})
    kept = git_says(repository)
    assert we_say(repository) == kept
    assert kept < {os.fsencode(path) for path in paths} | {b".gitignore"}


@pytest.mark.parametrize(
    "line",
    [
        b"[[:upper:]]*",
        b"[[:alpha:]_]",
        b"[a\\]]",
        b"[]-]",
        b"[z-a]",
        b"[[-z]",
        b"[!b-y]",
        b"a[!x]b",
        b"a[/x]b",
        b"\xc3\xa0",
        b"t\t",
        b"t\\\t",
        b"a/**/",
        b"a/***/b",
        b"a/**\\/b",
        b"a\\/b",
    ],
    ids=repr,
)
def test_the_lines_that_pathspec_reads_otherwise(repository: Path, line: bytes) -> None:
    leaves = ["a", "b", "z", "]", "[", "-", "_", "A1", "à", "t", "t\t", "axb", "ayb"]
    paths = [f"{folder}{leaf}" for folder in ("", "a/", "a/c/", "d/") for leaf in leaves if folder or leaf != "a"]
    plant(repository, paths, {})
    (repository / ".gitignore").write_bytes(b"/.gitignore\n" + line)
    kept = git_says(repository)
    assert we_say(repository) == kept
    assert kept < {os.fsencode(path) for path in paths}


@pytest.mark.parametrize(
    "line", [b"[[:no:]]", b"[a", b"[!]", b"[[:alpha:]", b"a\\", b"/", b"!", b"a//b", b"# a"], ids=repr
)
def test_malformed_lines_match_nothing(repository: Path, line: bytes) -> None:
    plant(repository, ["a", "b/a", "[a", "[!]", "# a", "!"], {})
    (repository / ".gitignore").write_bytes(line)
    kept = git_says(repository)
    assert we_say(repository) == kept
    assert len(kept) == 7


def test_rules_between_the_git_root_and_the_folder_count(tmp_path: Path) -> None:
    code = tmp_path / "projects" / "one"
    code.mkdir(parents=True)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".gitignore").write_text("*.log\n/projects/one/data\n")
    (tmp_path / "projects" / ".gitignore").write_text("!keep.log\n")
    rules, prefix = rules_above(code)
    assert rules is not None
    assert prefix == b"projects/one/"
    assert rules.ignores(b"projects/one/a.log", is_folder=False)
    assert rules.ignores(b"projects/one/data", is_folder=True)
    assert not rules.ignores(b"projects/one/keep.log", is_folder=False)
    assert not rules.ignores(b"projects/one/data.txt", is_folder=False)


def test_without_a_git_root_nothing_above_counts(tmp_path: Path) -> None:
    code = tmp_path / "code"
    code.mkdir()
    (tmp_path / ".gitignore").write_text("*\n")
    if git_root(tmp_path) is None:
        assert rules_above(code) == (None, b"")


def test_a_link_is_not_an_ignore_file(tmp_path: Path) -> None:
    (tmp_path / "rules").write_text("*\n")
    (tmp_path / ".gitignore").symlink_to("rules")
    assert read_rules(tmp_path / ".gitignore") is None
    assert read_rules(tmp_path / "none") is None


def test_the_same_text_in_the_same_place_has_the_same_key() -> None:
    one = add_file(None, b"a/", b"*.log")
    assert one.key == add_file(None, b"a/", b"*.log").key
    assert one.key != add_file(None, b"b/", b"*.log").key
    assert one.key != add_file(one, b"a/", b"*.log").key


@given(st.binary(max_size=40))
def test_no_line_can_break_the_parser(line: bytes) -> None:
    rules = add_file(None, b"", line)
    parse(line)
    assert rules.ignores(b"a/b", is_folder=False) in {True, False}
