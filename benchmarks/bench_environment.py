"""Environments: five packages from uv's warm cache, as by hand; and what one that is there costs a job."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.measure import MLCLI, seconds

PACKAGES = ("six", "idna", "attrs", "packaging", "certifi")
BUILDS = 7
JOBS = 21


def run() -> list[tuple[str, float, float]]:
    """Seconds and a ratio for a build, milliseconds for a hit."""
    with tempfile.TemporaryDirectory() as folder:
        built, by_hand = _builds(Path(folder))
        return [
            ("uv environment of five packages, warm cache, seconds", built, 3),
            ("the same, x `uv venv && uv pip install` by hand", built / by_hand, 1.5),
            ("a cached environment on a local job, ms more than `current`", _hit_ms(Path(folder)), 30),
        ]


def _builds(folder: Path) -> tuple[float, float]:
    """Median seconds to build through mlcli's builder and by hand, in turn; the first round fills uv's cache."""
    from mlcli.domain.job import EnvironmentSpec
    from mlcli.domain.settings import Settings
    from mlcli.environments.venv import VenvBuilder

    spec = EnvironmentSpec(conda={"dependencies": ["python", {"pip": [*PACKAGES]}]})
    ours, theirs = [], []
    for number in range(BUILDS + 1):
        builder = VenvBuilder(folder / f"home-{number}", Settings())
        start = time.perf_counter()
        builder.build(builder.plan(spec), lambda _line: None)
        ours.append(time.perf_counter() - start)
        theirs.append(_by_hand(folder / f"hand-{number}"))
    return statistics.median(ours[1:]), statistics.median(theirs[1:])


def _by_hand(place: Path) -> float:
    from uv import find_uv_bin

    uv = find_uv_bin()
    start = time.perf_counter()
    _run([uv, "venv", "--no-project", "--python", sys.executable, str(place)])
    _run([uv, "pip", "install", "--python", str(place / "bin" / "python"), *PACKAGES])
    return time.perf_counter() - start


def _run(argv: list[str]) -> None:
    environment = {**os.environ, **_pips_words()}
    subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True, env=environment)


def _pips_words() -> dict[str, str]:
    """The indexes of pip's configuration: both are to ask the same ones."""
    from mlcli.environments._pip_settings import uv_variables

    return {"UV_INDEX_STRATEGY": "unsafe-best-match", **uv_variables(os.environ)}


def _hit_ms(folder: Path) -> float:
    """The same trivial job with ``environment: current`` and in an environment that is built, in turn: the difference of
    the processor time that `job create` takes, the least of each, as other work on the machine makes both longer.
    """
    home = folder / "home"
    conda = json.dumps({"dependencies": ["python", {"pip": [*PACKAGES]}]})
    argv = {}
    for name, environment in {"current": "current", "cached": f"{{conda_file: {conda}}}"}.items():
        file = folder / f"{name}.yml"
        file.write_text(f"command: ':'\nenvironment: {environment}\ncompute: local\n")
        argv[name] = [MLCLI, "job", "create", "-f", str(file), "--stream"]
        seconds(argv[name], home)
    times = [(_processor_s(argv["cached"], home), _processor_s(argv["current"], home)) for _ in range(JOBS)]
    return 1000 * (min(cached for cached, _ in times) - min(current for _, current in times))


def _processor_s(argv: list[str], home: Path) -> float:
    import resource

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds(argv, home)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
