"""The index of runs: rows of SQLite, and nothing in them that the run folders do not hold (leases excepted).

Every function takes a connection and does one statement or two; ``runs.py`` says in which order and under which lock.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mlcli.domain.run import Lease, ProcessIdentity, Run, RunFilter
from mlcli.domain.state import ENDS, Reason, State

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

VERSION = 1
_ALIVE = "state NOT IN ('Completed', 'Failed', 'Canceled', 'NotResponding')"
SCHEMA = f"""
CREATE TABLE runs (
  name TEXT PRIMARY KEY, experiment_name TEXT NOT NULL, compute TEXT NOT NULL, backend TEXT NOT NULL,
  created_at REAL NOT NULL, state TEXT NOT NULL, reason TEXT NOT NULL, message TEXT NOT NULL, job_type TEXT NOT NULL,
  display_name TEXT, description TEXT, tags TEXT NOT NULL, properties TEXT NOT NULL, started_at REAL, ended_at REAL,
  exit_code INTEGER, parent TEXT, archived INTEGER NOT NULL, notices TEXT NOT NULL,
  lease_boot TEXT, lease_pid INTEGER, lease_start INTEGER, lease_expires REAL
);
CREATE INDEX runs_by_time ON runs (created_at, name);
CREATE INDEX runs_alive ON runs (state) WHERE {_ALIVE};
CREATE INDEX runs_by_parent ON runs (parent) WHERE parent IS NOT NULL;
CREATE TABLE tags (run TEXT NOT NULL, key TEXT NOT NULL, value TEXT, PRIMARY KEY (run, key)) WITHOUT ROWID;
CREATE TABLE boots (boot_id TEXT PRIMARY KEY) WITHOUT ROWID;
"""

_COLUMNS = (
    "name",
    "experiment_name",
    "compute",
    "backend",
    "created_at",
    "state",
    "reason",
    "message",
    "job_type",
    "display_name",
    "description",
    "tags",
    "properties",
    "started_at",
    "ended_at",
    "exit_code",
    "parent",
    "archived",
    "notices",
)
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM runs"  # noqa: S608  (constants of this module)
_UPSERT = (
    f"INSERT INTO runs ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))}) "  # noqa: S608
    f"ON CONFLICT (name) DO UPDATE SET {', '.join(f'{column} = excluded.{column}' for column in _COLUMNS[1:])}"
)
_LEASE = "lease_boot, lease_pid, lease_start, lease_expires"
_LAST_CHARACTER = chr(0x10FFFF)
_NEAREST_AMONG = 5000
_STATES = {state.value: state for state in State}
_REASONS = {reason.value: reason for reason in Reason}


def put(connection: sqlite3.Connection, run: Run) -> None:
    """Insert the run, or replace what its row says of it (its lease stays)."""
    connection.execute(_UPSERT, _row(run))
    connection.execute("DELETE FROM tags WHERE run = ?", (run.name,))
    connection.executemany("INSERT INTO tags VALUES (?, ?, ?)", [(run.name, *tag) for tag in run.tags.items()])


def get(connection: sqlite3.Connection, name: str) -> Run | None:
    """The run of that name."""
    row = connection.execute(f"{_SELECT} WHERE name = ?", (name,)).fetchone()
    return None if row is None else _run(row)


def remove(connection: sqlite3.Connection, name: str) -> bool:
    """Forget the run; whether there was one."""
    connection.execute("DELETE FROM tags WHERE run = ?", (name,))
    return connection.execute("DELETE FROM runs WHERE name = ?", (name,)).rowcount > 0


def select(connection: sqlite3.Connection, which: RunFilter) -> list[Run]:
    """The runs that the filter lets through, newest first; of one instant, by name."""
    condition, values = where(which)
    query = f"{_SELECT} {condition} ORDER BY created_at DESC, name DESC LIMIT ?"
    return [_run(row) for row in connection.execute(query, (*values, -1 if which.limit is None else which.limit))]


def where(which: RunFilter) -> tuple[str, list[Any]]:
    """The filter as SQL: a WHERE clause (or nothing) and its values."""
    asked = [*_by_state(which), *_by_tag(which)]
    asked += [(clause, [value]) for clause, value in _by_value(which) if value is not None]
    if which.name_prefix:
        asked.append(("name >= ? AND name < ?", [which.name_prefix, which.name_prefix + _LAST_CHARACTER]))
    if which.without_parent:
        asked.append(("parent IS NULL", []))
    if which.archived_only:
        asked.append(("archived = 1", []))
    elif not which.include_archived:
        asked.append(("archived = 0", []))
    clauses = " AND ".join(clause for clause, _ in asked)
    return (f"WHERE {clauses}" if clauses else ""), [value for _, values in asked for value in values]


def _by_value(which: RunFilter) -> list[tuple[str, Any]]:
    return [
        ("experiment_name = ?", which.experiment_name),
        ("compute = ?", which.compute),
        ("parent = ?", which.parent),
        ("created_at >= ?", which.created_after),
        ("created_at < ?", which.created_before),
    ]


def _by_state(which: RunFilter) -> list[tuple[str, list[Any]]]:
    if which.states is None:
        return []
    states: list[Any] = sorted(state.value for state in which.states)
    clause = f"state IN ({', '.join('?' * len(states))})"
    # said again in the words of the index runs_alive, or SQLite would not use it
    return [(clause + (f" AND {_ALIVE}" if which.states.isdisjoint(ENDS) else ""), states)]


def _by_tag(which: RunFilter) -> list[tuple[str, list[Any]]]:
    found = "EXISTS (SELECT 1 FROM tags WHERE run = runs.name AND key = ?"
    return [
        (found + ")", [key]) if value is None else (found + " AND value = ?)", [key, value])
        for key, value in which.tags.items()
    ]


def complete(connection: sqlite3.Connection, prefix: str, limit: int) -> list[str]:
    """Names that start with ``prefix``, newest first."""
    query = "SELECT name FROM runs WHERE name >= ? AND name < ? ORDER BY created_at DESC, name DESC LIMIT ?"
    return [name for (name,) in connection.execute(query, (prefix, prefix + _LAST_CHARACTER, limit))]


def nearest(connection: sqlite3.Connection, name: str) -> list[str]:
    """Up to three names of the newest runs that look like ``name``."""
    import difflib

    query = "SELECT name FROM runs ORDER BY created_at DESC LIMIT ?"
    return difflib.get_close_matches(name, [row[0] for row in connection.execute(query, (_NEAREST_AMONG,))])


def lease(connection: sqlite3.Connection, name: str) -> Lease | None:
    """Who holds the run, alive or not."""
    row = connection.execute(f"SELECT {_LEASE} FROM runs WHERE name = ?", (name,)).fetchone()  # noqa: S608
    if row is None or row[0] is None:
        return None
    return Lease(name, ProcessIdentity(row[0], row[1], row[2]), row[3])


def set_lease(connection: sqlite3.Connection, name: str, held: Lease | None) -> None:
    """Give the run to a process, or to nobody."""
    values = (None,) * 4
    if held is not None:
        owner = held.owner
        values = (owner.boot_id, owner.pid, owner.start_time, held.expires_at)  # type: ignore[assignment]
    connection.execute(
        "UPDATE runs SET lease_boot = ?, lease_pid = ?, lease_start = ?, lease_expires = ? WHERE name = ?",
        (*values, name),
    )


def replace_all(connection: sqlite3.Connection, runs: Iterable[Run]) -> int:
    """Make the index hold exactly these runs, with the leases it knew; how many they are."""
    leases = connection.execute(f"SELECT name, {_LEASE} FROM runs WHERE lease_boot IS NOT NULL").fetchall()  # noqa: S608
    connection.execute("DELETE FROM runs")
    connection.execute("DELETE FROM tags")
    count = 0
    for run in runs:
        put(connection, run)
        count += 1
    for name, boot, pid, start, expires in leases:
        set_lease(connection, name, Lease(name, ProcessIdentity(boot, pid, start), expires))
    return count


def is_new_boot(connection: sqlite3.Connection, boot_id: str) -> bool:
    """Whether this start of the machine has not used the index yet."""
    return connection.execute("SELECT 1 FROM boots WHERE boot_id = ?", (boot_id,)).fetchone() is None


def note_boot(connection: sqlite3.Connection, boot_id: str) -> None:
    """Remember that this start of the machine uses the index."""
    connection.execute("INSERT OR IGNORE INTO boots VALUES (?)", (boot_id,))


def _row(run: Run) -> tuple[Any, ...]:
    values = {
        **{column: getattr(run, column) for column in _COLUMNS},
        "state": run.state.value,
        "reason": run.reason.value,
        "tags": _json(run.tags),
        "properties": _json(run.properties),
        "archived": int(run.archived),
        "notices": json.dumps(run.notices) if run.notices else "",
    }
    return tuple(_storable(values[column]) for column in _COLUMNS)


def _storable(value: Any) -> Any:
    """The value, without what SQLite's UTF-8 cannot hold (halves of surrogate pairs, from file names that are not text)."""
    if isinstance(value, str) and not value.isascii():
        return value.encode("utf-8", "replace").decode()
    return value


def _json(mapping: Mapping[str, str]) -> str:
    return json.dumps(dict(mapping)) if mapping else ""


def _run(row: tuple[Any, ...]) -> Run:
    facts = dict(zip(_COLUMNS, row, strict=True))
    facts["state"] = _STATES[facts["state"]]
    facts["reason"] = _REASONS[facts["reason"]]
    facts["tags"] = json.loads(facts["tags"]) if facts["tags"] else {}
    facts["properties"] = json.loads(facts["properties"]) if facts["properties"] else {}
    facts["archived"] = bool(facts["archived"])
    facts["notices"] = tuple(json.loads(facts["notices"])) if facts["notices"] else ()
    return Run(**facts)
