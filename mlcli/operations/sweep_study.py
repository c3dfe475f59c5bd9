"""A sweep as a study of Optuna's: in memory, to be drawn, and in a file that optuna-dashboard and Optuna open."""

from __future__ import annotations

import json
import sqlite3
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import registry
from mlcli.domain.errors import MlcliError, StoreError, UsageError
from mlcli.domain.run import Run
from mlcli.operations import sweep_report
from mlcli.operations.locking import locked
from mlcli.operations.sweep_report import Report
from mlcli.ports.services import Services

if TYPE_CHECKING:
    from optuna.storages import BaseStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

SQLITE = (".db", ".sqlite", ".sqlite3")
JOURNAL = (".log", ".journal")
_FIRST_TABLE = {"study_id", "study_name"}
_OURS = "mlcli"
_BUSY_S = 30


@dataclass(frozen=True)
class Exported:
    """``trials``: how many the study has; ``added``, ``updated``: how many of them are new, or were not yet up to date."""

    study: str
    path: str
    trials: int
    added: int
    updated: int


def study(found: Report) -> Study:
    """A sweep as a study in memory. Raises UnsupportedError where Optuna is not installed."""
    trials = _trials(found)
    with quietly() as optuna:
        made: Study = optuna.create_study(study_name=found.run.name, direction=found.search.objective.goal.value)
        made.add_trials(trials)
    return made


def export(services: Services, run: Run, path: Path) -> Exported:
    """Write a sweep into a file as a study under its name; what is there of it already is brought up to date.

    Other studies in the file stay as they are. Raises UsageError for a file that is none of Optuna's, StoreError where it
    cannot be written.
    """
    kind = _kind(path)
    found = sweep_report.report(services, run)
    trials = _trials(found)
    with locked(services.runs.folder(run.name) / ".export"), _told(path), quietly(), _opened(path, kind) as storage:
        at = _study_id(storage, found, path)
        stored = storage.get_all_trials(at)
        if not _is_beginning(stored, trials):
            storage.delete_study(at)
            at, stored = _study_id(storage, found, path), []
        updated = sum(_bring_up_to_date(storage, old, new) for old, new in zip(stored, trials, strict=False))
        for trial in trials[len(stored) :]:
            storage.create_new_trial(at, trial)
    return Exported(run.name, str(path), len(trials), len(trials) - len(stored), updated)


def _trials(found: Report) -> list[FrozenTrial]:
    made: list[FrozenTrial] = registry.load("studies", "optuna")(found.search, found.attempts, found.run.created_at)
    return made


@contextmanager
def quietly() -> Iterator[Any]:
    """Optuna, without what it tells of each study, and of what of its own may change."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield optuna


# The file


def _kind(path: Path) -> str:
    suffix = path.suffix.lower()
    if suffix in {*SQLITE, *JOURNAL}:
        return "sqlite" if suffix in SQLITE else "journal"
    raise UsageError(
        f"{path.name!r} does not tell which of Optuna's storages it is to be",
        hint="end it in .db for SQLite, or in .log for Optuna's journal",
    )


@contextmanager
def _told(path: Path) -> Iterator[None]:
    """What Optuna and SQLAlchemy raise, as an error that a person can read."""
    from optuna.exceptions import OptunaError
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (OptunaError, SQLAlchemyError, sqlite3.Error, RuntimeError, json.JSONDecodeError) as failed:
        cause = failed.__cause__ or failed
        why = str(getattr(cause, "orig", None) or cause).splitlines()[0]
        raise StoreError(f"{path} cannot be written: {why}", hint="export into another file") from failed


@contextmanager
def _opened(path: Path, kind: str) -> Iterator[BaseStorage]:
    if path.exists() and path.stat().st_size:
        _must_be_optunas(path, kind)
    elif not path.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {path.absolute().parent}", hint="make it first")
    storage = _sqlite(path) if kind == "sqlite" else _journal(path)
    try:
        yield storage
    finally:
        storage.remove_session()


def _sqlite(path: Path) -> BaseStorage:
    from optuna.storages import RDBStorage
    from sqlalchemy.pool import NullPool

    def connect() -> sqlite3.Connection:  # so that no letter of the path has a meaning in an address
        return sqlite3.connect(path, timeout=_BUSY_S, check_same_thread=False)

    return RDBStorage("sqlite:///study.db", engine_kwargs={"creator": connect, "poolclass": NullPool})


def _journal(path: Path) -> BaseStorage:
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    return JournalStorage(JournalFileBackend(str(path)))


def _must_be_optunas(path: Path, kind: str) -> None:
    """Nothing is written into a file of somebody else's."""
    good = False
    if kind == "sqlite":
        with suppress(sqlite3.DatabaseError), closing(sqlite3.connect(path, timeout=_BUSY_S)) as database:
            is_empty = database.execute("SELECT 1 FROM sqlite_master").fetchone() is None
            columns = {row[1] for row in database.execute("PRAGMA table_info(studies)")}
            good = (
                is_empty or columns >= _FIRST_TABLE
            )  # the others may be missing: somebody was killed, or the disk was full
    else:
        with suppress(ValueError, TypeError), path.open("rb") as file:
            good = "op_code" in json.loads(file.readline())
    if not good:
        raise UsageError(f"{path} is there, and is no storage of Optuna's", hint="export into another file")


# The study


def _study_id(storage: BaseStorage, found: Report, path: Path) -> int:
    """That of the sweep's study, made where there is none."""
    from optuna.study import StudyDirection, load_study

    name, objective = found.run.name, found.search.objective
    mark = {"sweep": name, "created_at": found.run.created_at}
    with suppress(KeyError):
        there = storage.get_study_id_from_name(name)
        if storage.get_study_user_attrs(there).get(_OURS) != mark:
            raise MlcliError(f"{path} has a study {name!r} that is not of this sweep", hint="export into another file")
        return there
    directions = [StudyDirection[objective.goal.name]]
    made = storage.create_new_study(directions, name)
    storage.set_study_user_attr(made, _OURS, mark)
    load_study(study_name=name, storage=storage).set_metric_names([objective.primary_metric])
    return made


def _is_beginning(stored: Sequence[FrozenTrial], trials: Sequence[FrozenTrial]) -> bool:
    """Whether what is stored may be brought up to date: what has ended in Optuna's eyes never changes any more."""
    return len(stored) <= len(trials) and all(
        old.params == new.params and (not old.state.is_finished() or _outcome(old) == _outcome(new))
        for old, new in zip(stored, trials, strict=False)
    )


def _outcome(trial: FrozenTrial) -> tuple[Any, ...]:
    return trial.state, trial.values, trial.user_attrs


def _bring_up_to_date(storage: BaseStorage, old: FrozenTrial, new: FrozenTrial) -> bool:
    """Put what a trial that ran has logged since, and how it ended; whether there was anything."""
    if old.state.is_finished():
        return False
    at = old._trial_id  # noqa: SLF001  (storages know it by no other)
    points = {step: value for step, value in new.intermediate_values.items() if step not in old.intermediate_values}
    for step, value in points.items():
        storage.set_trial_intermediate_value(at, step, value)
    words = {key: word for key, word in new.user_attrs.items() if old.user_attrs.get(key) != word}
    for key, word in words.items():
        storage.set_trial_user_attr(at, key, word)
    if new.state.is_finished():
        storage.set_trial_state_values(at, new.state, new.values)
    return bool(points or words or new.state.is_finished())
