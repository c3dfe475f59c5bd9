"""Runs as folders, and an index to find them: the folder is the truth, whatever is in the index is made from it.

A run's folder ``runs/NAME/`` (0700) holds, of ours: ``run.json`` (what the run is, everything but its state),
``events.jsonl`` (how it moved, a line an event; the first is its creation) and the JSON documents of its operations.

What survives what. A folder appears whole or not at all (made under another name, then renamed); a document is replaced
by rename; an event is one appended line, and a torn last line is not read. A change of folder and row leaves a mark in
``runs/.marks/`` while it lasts, so that the next look at the workspace finishes what a killed process began: kill -9
loses nothing that was answered for. Nothing is synced to the disk on this path: after a power cut the last seconds may
be missing, and the first command after a restart of the machine therefore rebuilds the index from the folders.
"""

from __future__ import annotations

import itertools
import json
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli import agent
from mlcli.domain.errors import LeaseLostError, NameTakenError, NotFoundError, StoreError, UsageError
from mlcli.domain.run import Event, Lease, ProcessIdentity, Run, RunChanges, RunFilter, moved_by, moves
from mlcli.domain.state import Reason, State
from mlcli.ports.stores import RunStore
from mlcli.stores import index
from mlcli.stores._files import (
    append_line,
    cut,
    free_name,
    read_json,
    remove_tree,
    replace_json,
    sweep,
    write_json,
)
from mlcli.stores._sqlite import Database, is_full, store_errors

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterator, Mapping, Sequence

RUN_FILE = "run.json"
EVENTS_FILE = "events.jsonl"
SUBMISSION_FILE = "submission.json"
_NAME_BYTES = 255
_ABANDONED_S = 3600.0
_Sentences = list[str]  # inside the class, ``list`` is the method
_UNSUBMITTED = frozenset({State.NOT_STARTED, State.PREPARING, State.PROVISIONING, State.CANCEL_REQUESTED})
_STATIC = (
    "name",
    "experiment_name",
    "compute",
    "backend",
    "created_at",
    "job_type",
    "display_name",
    "description",
    "tags",
    "properties",
    "parent",
    "archived",
    "notices",
)


class UnreadableRunError(Exception):
    """A folder below ``runs/`` that holds no run; the text says why."""


@dataclass(frozen=True)
class _Change:
    """A change under way: its transaction, and what takes the folder back where the transaction fails."""

    connection: sqlite3.Connection
    undo: list[Callable[[], None]]


class FolderRunStore(RunStore):
    """The runs of one workspace, ``root/runs``, and their index, ``root/index.sqlite``.

    ``notices``: sentences for the person (an index that had to be made anew). ``reindex_problems``: one sentence for
    each folder that the last rebuilding of the index could not read as a run, and left alone.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()
        self._runs = self._root / "runs"
        self._marks = self._runs / ".marks"
        self._new = self._runs / ".new"
        self._trash = self._runs / ".trash"
        self._count = itertools.count()
        self._me: ProcessIdentity | None = None
        self._checked = False
        self.notices: list[str] = []
        self.reindex_problems: tuple[str, ...] = ()
        self._index = Database(
            self._root / "index.sqlite",
            version=index.VERSION,
            schema=index.SCHEMA,
            fill=self._fill,
            notices=self.notices,
        )

    def create(self, run: Run, documents: Mapping[str, Any]) -> Path:
        """Folder first, then row, in one marked change; of two claimants of a name exactly one wins."""
        folder = self._checked_folder(run.name)
        first = Event(run.reason, _first_time(run), run.message, run.exit_code, run.started_at)
        with store_errors(f"cannot create run {run.name}", self._root):
            if os.path.lexists(folder):
                raise _taken(run.name)
            fresh = self._make_folder(run, first, documents)
            try:
                with self._changing(run.name) as change:
                    _claim_name(fresh, folder, run.name)
                    change.undo.append(lambda: os.rename(folder, fresh))  # noqa: PTH104
                    index.put(change.connection, _born(run, first))
            except BaseException:
                remove_tree(Path(fresh))
                raise
        return Path(folder)

    def get(self, name: str) -> Run:
        """From the index; a folder without a row is read and indexed, a row without a folder forgotten."""
        folder = self._folder_of(name)
        with self._reading(f"cannot read run {name}"):
            with self._index.read() as connection:
                run = index.get(connection, name)
            there = os.path.lexists(folder)
            if (run is not None) != there:
                run = self._adopt(name)
        if run is None:
            raise self._not_found(name)
        return run

    def list(self, which: RunFilter) -> Sequence[Run]:
        """From the index alone: one query, no folder is opened."""
        with self._reading("cannot list the runs"), self._index.read() as connection:
            return index.select(connection, which)

    def folder(self, name: str) -> Path:
        """``root/runs/NAME``."""
        return self._runs / name

    def document(self, name: str, file: str) -> Any:
        """Raises StoreError for a file that is not JSON."""
        with store_errors(f"cannot read {file} of run {name}", self._root):
            try:
                return read_json(f"{self._folder_of(name)}/{_checked_file(file)}")
            except ValueError as error:
                raise StoreError(f"{self._runs / name / file} is not JSON: {error}") from error

    def write_document(self, name: str, file: str, value: Any) -> None:
        """By rename: readers see the old value or the new."""
        folder = self._folder_of(name)
        with store_errors(f"cannot write {file} of run {name}", self._root):
            try:
                replace_json(f"{folder}/{_checked_file(file)}", value)
            except FileNotFoundError:
                raise self._not_found(name) from None

    def append(self, name: str, event: Event, lease: Lease | None = None) -> Run:
        """The event line is written, then the row; both or neither."""
        events = f"{self._folder_of(name)}/{EVENTS_FILE}"
        with store_errors(f"cannot record what became of run {name}", self._root):
            self._settle()
            with self._changing(name) as change:
                run = self._known(change.connection, name)
                if lease is not None:
                    _check_held(change.connection, lease)
                if not moves(run, event):
                    return run
                size = append_line(events, _encode(event))
                change.undo.append(lambda: cut(events, size))
                moved = moved_by(run, event)
                index.put(change.connection, moved)
        return moved

    def events(self, name: str) -> Sequence[Event]:
        """From ``events.jsonl``; the first is the creation."""
        with store_errors(f"cannot read the events of run {name}", self._root):
            try:
                return _read_events(f"{self._folder_of(name)}/{EVENTS_FILE}")
            except FileNotFoundError:
                raise self._not_found(name) from None

    def edit(self, name: str, change: Callable[[Run], RunChanges]) -> Run:
        """``run.json`` is replaced, then the row; both or neither."""
        file = f"{self._folder_of(name)}/{RUN_FILE}"
        with store_errors(f"cannot update run {name}", self._root):
            self._settle()
            with self._changing(name) as under_way:
                before = self._known(under_way.connection, name)
                given = {key: value for key, value in vars(change(before)).items() if value is not None}
                after = replace(before, **given)
                replace_json(file, _static(after))
                under_way.undo.append(lambda: replace_json(file, _static(before)))
                index.put(under_way.connection, after)
        return after

    def claim(self, name: str, ttl_s: float = 60.0) -> Lease | None:
        """The lease lives in the index row. A process that has it already is given it again."""
        self._folder_of(name)
        with store_errors(f"cannot claim run {name}", self._root):
            self._settle()
            with self._index.write() as connection:
                self._known(connection, name)
                held = index.lease(connection, name)
                if held is not None and held.owner != self._identity() and not _is_free(held):
                    return None
                lease = Lease(name, self._identity(), time.time() + ttl_s)
                index.set_lease(connection, name, lease)
        return lease

    def renew(self, lease: Lease, ttl_s: float = 60.0) -> Lease:
        """Also after it ran out, as long as nobody else took it."""
        with store_errors(f"cannot renew the lease of run {lease.run}", self._root), self._index.write() as connection:
            _check_held(connection, lease)
            renewed = replace(lease, expires_at=time.time() + ttl_s)
            index.set_lease(connection, lease.run, renewed)
        return renewed

    def release(self, lease: Lease) -> None:
        """Only its own; anybody else's stays."""
        with store_errors(f"cannot release run {lease.run}", self._root), self._index.write() as connection:
            held = index.lease(connection, lease.run)
            if held is not None and held.owner == lease.owner:
                index.set_lease(connection, lease.run, None)

    def unattended(self) -> Sequence[Run]:
        """Live runs before Queued, or asked to cancel, that have no ``submission.json``."""
        with self._reading("cannot list the runs"), self._index.read() as connection:
            waiting = index.select(connection, RunFilter(states=_UNSUBMITTED, include_archived=True))
            held = {run.name: index.lease(connection, run.name) for run in waiting}
        return [
            run
            for run in waiting
            if _is_free(held[run.name]) and not os.path.lexists(self._runs / run.name / SUBMISSION_FILE)
        ]

    def delete(self, name: str) -> int:
        """Also frees a disk that is too full for the index to be written first."""
        folder = self._folder_of(name)
        with store_errors(f"cannot delete run {name}", self._root):
            self._settle()
            self._trash.mkdir(mode=0o700, parents=True, exist_ok=True)
            trash = self._trash / free_name()
            freed = 0
            try:
                self._forget(name, trash)
            except Exception as error:
                if not is_full(error, self._root) or not os.path.lexists(folder):
                    raise
                os.rename(folder, trash)  # noqa: PTH104
                freed = remove_tree(trash)  # makes the room that the index needs to forget the run
                self._index.close()
                self._forget(name, trash)
            freed += remove_tree(trash)
            self._sweep()
        return freed

    def _sweep(self) -> None:
        """Remove what a killed ``delete`` or ``create`` has left where nobody looks."""
        sweep(self._trash)
        sweep(self._new, older_than_s=_ABANDONED_S)

    def _forget(self, name: str, trash: Path) -> None:
        """Move a run's folder to ``trash`` and remove its row."""
        folder = self._runs / name
        with self._changing(name) as change:
            there = os.path.lexists(folder)
            if there:
                os.rename(folder, trash)  # noqa: PTH104
                change.undo.append(lambda: os.rename(trash, folder))  # noqa: PTH104
            if not index.remove(change.connection, name) and not there:
                raise self._not_found(name)

    def reindex(self) -> int:
        """In one transaction: readers see the old index or the new, writers wait. Leases are kept. What a killed process
        has left is swept away too.
        """
        with store_errors("cannot rebuild the index", self._root):
            with self._index.write() as connection:
                count = self._fill(connection)
            self._settle()
            self._sweep()
        return count

    def complete(self, prefix: str, limit: int = 50) -> Sequence[str]:
        """Archived runs too: ``job restore`` wants them."""
        with self._reading("cannot list the runs"), self._index.read() as connection:
            return index.complete(connection, prefix, limit)

    def close(self) -> None:
        """Let the index file go; it is opened again when needed."""
        self._index.close()

    # The folder and its row, together

    @contextmanager
    def _changing(self, name: str) -> Iterator[_Change]:
        """One change of a run's folder and row, marked while it lasts."""
        mark = self._free_mark()
        undo: list[Callable[[], None]] = []
        try:
            self._write_mark(mark, name)
            with self._index.write(undo) as connection:
                yield _Change(connection, undo)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(mark)  # noqa: PTH108

    def _free_mark(self) -> str:
        owner = self._identity()
        return f"{self._marks}/{owner.pid}.{owner.start_time}.{next(self._count)}"

    def _write_mark(self, mark: str, name: str) -> None:
        text = [self._identity().boot_id, name]
        try:
            write_json(mark, text)
        except FileNotFoundError:
            self._marks.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_json(mark, text)

    @contextmanager
    def _reading(self, doing: str) -> Iterator[None]:
        """Read what there is; what killed processes began is finished first, where it can be written."""
        with store_errors(doing, self._root):
            with unless_refused():
                self._settle()
            yield

    def _settle(self) -> None:
        """Finish what killed processes began, and look at every folder once after a restart of the machine."""
        if not self._checked:
            self._checked = True
            self._check_boot()
        try:
            marks = os.listdir(self._marks)  # noqa: PTH208
        except FileNotFoundError:
            return
        for name in marks:
            self._settle_mark(self._marks / name)

    def _settle_mark(self, mark: Path) -> None:
        pid, start_time, _ = (int(part) for part in mark.name.split("."))
        boot_id, name = agent.boot_id(), None
        with suppress(ValueError):  # not written to its end: nothing was begun
            begun = read_json(mark)
            if begun is None:
                return
            boot_id, name = begun
        if not _is_dead(ProcessIdentity(boot_id, pid, start_time)):
            return
        if name is not None:
            self._adopt(name)
        mark.unlink(missing_ok=True)

    def _adopt(self, name: str) -> Run | None:
        """Make the row what the folder says, where that can be written; the run, or None when there is no folder."""
        import sqlite3

        try:
            with self._index.write() as connection:
                return self._from_folder(connection, name)
        except (OSError, sqlite3.OperationalError) as error:
            if not _is_refused(error):
                raise
        with suppress(UnreadableRunError):
            return self._load(name)
        return None

    def _from_folder(self, connection: sqlite3.Connection, name: str) -> Run | None:
        try:
            run = self._load(name)
        except UnreadableRunError:
            index.remove(connection, name)
            return None
        index.put(connection, run)
        return run

    def _known(self, connection: sqlite3.Connection, name: str) -> Run:
        """The run as the index has it, else as its folder says. Within a transaction."""
        run = index.get(connection, name)
        if run is None or not os.path.lexists(self._folder_of(name)):
            run = self._from_folder(connection, name)
        if run is None:
            raise self._not_found(name)
        return run

    def _check_boot(self) -> None:
        boot = agent.boot_id()
        with self._index.read() as connection:
            if not index.is_new_boot(connection, boot):
                return
        with unless_refused(), self._index.write() as connection:
            self._fill(connection)

    def _fill(self, connection: sqlite3.Connection) -> int:
        problems: list[str] = []
        count = index.replace_all(connection, self._load_all(problems))
        index.note_boot(connection, agent.boot_id())
        self.reindex_problems = tuple(problems)
        return count

    def _load_all(self, problems: _Sentences) -> Iterator[Run]:
        try:
            names = sorted(os.listdir(self._runs))  # noqa: PTH208
        except FileNotFoundError:
            return
        for name in names:
            if name.startswith("."):
                continue
            try:
                yield self._load(name)
            except UnreadableRunError as why:
                problems.append(f"{self._runs / name}: {why}")

    def _load(self, name: str) -> Run:
        """The run as its folder says. Raises UnreadableRunError."""
        folder = self._runs / name
        try:
            facts = read_json(folder / RUN_FILE)
            if facts is None:
                raise UnreadableRunError(f"it has no {RUN_FILE}")
            events = _read_events(folder / EVENTS_FILE)
            return _history(_decode_static({**facts, "name": name}), events)
        except FileNotFoundError:
            raise UnreadableRunError(f"it has no {EVENTS_FILE}") from None
        except OSError as error:
            raise UnreadableRunError(f"it cannot be read: {error.strerror}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise UnreadableRunError(f"its {RUN_FILE} is damaged: {error}") from error

    def _make_folder(self, run: Run, first: Event, documents: Mapping[str, Any]) -> str:
        """The whole folder of a new run, under a name that nobody looks at."""
        fresh = f"{self._new}/{free_name()}"
        try:
            os.mkdir(fresh, 0o700)  # noqa: PTH102
        except FileNotFoundError:
            self._new.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.mkdir(fresh, 0o700)  # noqa: PTH102
        try:
            for file, value in documents.items():
                write_json(f"{fresh}/{_checked_file(file)}", value)
            write_json(f"{fresh}/{RUN_FILE}", _static(run))
            append_line(f"{fresh}/{EVENTS_FILE}", _encode(first))
        except BaseException:
            remove_tree(Path(fresh))
            raise
        return fresh

    # Names

    def _identity(self) -> ProcessIdentity:
        if self._me is None or self._me.pid != os.getpid():
            self._me = ProcessIdentity(**agent.identity())
        return self._me

    def _folder_of(self, name: str) -> str:
        """The folder of a name that can be a run's; others are not found, whatever lies where they point."""
        if not _is_safe(name):
            raise NotFoundError(f"there is no run {name!r}", hint="mlcli job list shows the runs")
        return f"{self._runs}/{name}"

    def _checked_folder(self, name: str) -> str:
        if not _is_safe(name):
            raise UsageError(
                f"{name!r} cannot be the name of a run",
                hint=f"1 to {_NAME_BYTES} bytes, without / and not starting with a dot",
            )
        return f"{self._runs}/{name}"

    def _not_found(self, name: str) -> NotFoundError:
        with self._index.read() as connection:
            near = index.nearest(connection, name)
        hint = f"did you mean {' or '.join(near)}?" if near else "mlcli job list shows the runs"
        return NotFoundError(f"there is no run {name!r}", hint=hint)


@contextmanager
def unless_refused() -> Iterator[None]:
    """Go on where a write is refused: the workspace can only be read, its disk is full, or its index locked."""
    import sqlite3

    try:
        yield
    except (OSError, sqlite3.OperationalError) as error:
        if not _is_refused(error):
            raise


def _is_refused(error: Exception) -> bool:
    import errno

    code = getattr(error, "errno", None)
    refused = {errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT}
    return code in refused or any(
        words in str(error) for words in ("readonly", "unable to open", "is full", "locked", "disk I/O")
    )


def _is_dead(owner: ProcessIdentity) -> bool:
    """Whether the process is known to be dead: of this machine, and not running."""
    who = vars(owner)
    return not agent.is_foreign(who) and not agent.is_alive(who)


def _is_free(lease: Lease | None) -> bool:
    """Whether nobody can hold it any more. A process that lives here keeps it, however long it is silent (a copy that takes
    an hour, a laptop that was closed); the time counts where it cannot be seen whether the holder lives.
    """
    if lease is None:
        return True
    if agent.is_foreign(vars(lease.owner)):
        return lease.expires_at <= time.time()
    return not agent.is_alive(vars(lease.owner))


def _check_held(connection: sqlite3.Connection, lease: Lease) -> None:
    held = index.lease(connection, lease.run)
    if held is None or held.owner != lease.owner:
        who = "nobody" if held is None else f"process {held.owner.pid}"
        raise LeaseLostError(
            f"this process no longer has the right to write to run {lease.run}: {who} has",
            hint="another process carries the run on",
        )


def _is_safe(name: str) -> bool:
    return bool(name) and name[0] != "." and not {"/", "\0"} & set(name) and len(os.fsencode(name)) <= _NAME_BYTES


def _checked_file(file: str) -> str:
    if not _is_safe(file):
        raise StoreError(f"{file!r} cannot be the name of a document")
    return file


def _taken(name: str) -> NameTakenError:
    return NameTakenError(
        f"there is a run {name!r} already", hint="choose another --name, or leave it out to have one made"
    )


def _claim_name(fresh: str, folder: str, name: str) -> None:
    """Give the new folder its name. A rename onto a folder that holds anything fails, so exactly one claimant wins."""
    import errno

    try:
        os.rename(fresh, folder)  # noqa: PTH104
    except OSError as error:
        if error.errno in {errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR}:
            raise _taken(name) from None
        raise


# What the files hold


def _first_time(run: Run) -> float:
    return run.ended_at if run.state.is_end and run.ended_at is not None else run.created_at


def _born(run: Run, first: Event) -> Run:
    """The run as its creation says: the state is the reason's."""
    return moved_by(replace(run, started_at=None, ended_at=None, exit_code=None), first)


def _history(run: Run, events: Sequence[Event]) -> Run:
    """The run after its events: the first is its creation, a later one counts where it moves the run."""
    if not events:
        return run
    run = moved_by(run, events[0])
    for event in events[1:]:
        if moves(run, event):
            run = moved_by(run, event)
    return run


def _static(run: Run) -> dict[str, Any]:
    facts = {name: getattr(run, name) for name in _STATIC}
    return {**facts, "tags": dict(run.tags), "properties": dict(run.properties), "notices": list(run.notices)}


def _decode_static(facts: Mapping[str, Any]) -> Run:
    known = {name: facts[name] for name in _STATIC if name in facts}
    run = Run(**{**known, "notices": tuple(known.get("notices", ()))})
    for name, kind in (("experiment_name", str), ("compute", str), ("backend", str), ("created_at", (int, float))):
        if not isinstance(getattr(run, name), kind):
            raise TypeError(f"{name} is {getattr(run, name)!r}")
    for name in ("tags", "properties"):
        if not isinstance(getattr(run, name), dict):
            raise TypeError(f"{name} is not a map")
    return run


def _encode(event: Event) -> bytes:
    facts = {name: value for name, value in vars(event).items() if value not in (None, "")}
    return json.dumps({**facts, "reason": event.reason.value}).encode()


def _read_events(file: str | Path) -> list[Event]:
    """The events of a file. A line that is not one (torn by a full disk or a killed process) is passed over."""
    events = []
    with open(file, "rb") as lines:  # noqa: PTH123
        for line in lines:
            with suppress(ValueError, TypeError, KeyError):
                events.append(_decode_event(json.loads(line)))
    return events


def _decode_event(facts: Mapping[str, Any]) -> Event:
    return Event(
        reason=Reason(facts["reason"]),
        time=float(facts["time"]),
        message=str(facts.get("message", "")),
        exit_code=facts.get("exit_code"),
        started_at=facts.get("started_at"),
    )
