"""Real engines for the tests: found where they run, started where they do not, or skipped with the reason.

A test asks for a fixture (``docker_engine``, ``ssh_hosts``, ...) and gets an engine that answers, or is skipped and says why.
The variable ``MLCLI_TEST_ENGINES`` decides how far a fixture goes:

======= ============================================================================================================
(unset) Take an engine that answers; else start one from programs that are on this machine. Install nothing. Skip if not.
all     Install what is missing (root on Debian or Ubuntu: apt-get), start it, and *fail* where there is no engine.
none    Skip every test that needs an engine.
======= ============================================================================================================

Tests that use an engine carry its marker, so that the quick part of the suite is ``pytest -m "not docker and not ssh"``. The
marker is given by the fixture: nobody has to remember it.

What is downloaded or made once (root file systems of images, the data of the engine that tests start) is kept in
``~/.cache/mlcli-test-engines``; ``MLCLI_TEST_ENGINES_CACHE`` names another folder.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


class Unavailable(Exception):  # noqa: N818
    """There is no such engine here. The text says why, and what would help."""


def mode() -> str:
    """``all``, ``none`` or nothing, from MLCLI_TEST_ENGINES."""
    value = os.environ.get("MLCLI_TEST_ENGINES", "")
    if value not in ("", "all", "none"):
        raise pytest.UsageError(f"MLCLI_TEST_ENGINES is {value!r}; it may be 'all', 'none' or unset")
    return value


def may_install() -> bool:
    return mode() == "all"


@contextmanager
def engine_or_skip(name: str) -> Iterator[None]:
    """Around the making of an engine in a fixture: turn :class:`Unavailable` into a skip, or with ``all`` into a failure."""
    if mode() == "none":
        pytest.skip(f"{name}: MLCLI_TEST_ENGINES=none")
    try:
        yield
    except Unavailable as reason:
        if mode() == "all":
            pytest.fail(f"no {name}: {reason}", pytrace=False)
        pytest.skip(f"no {name}: {reason}")


def cache_folder() -> Path:
    """:func:`cache_path`, made."""
    cache_path().mkdir(parents=True, exist_ok=True)
    return cache_path()


def cache_path() -> Path:
    """Where engines and images are kept between sessions."""
    return Path(os.environ.get("MLCLI_TEST_ENGINES_CACHE") or "~/.cache/mlcli-test-engines").expanduser().absolute()
