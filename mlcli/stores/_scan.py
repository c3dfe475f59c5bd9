"""What a code folder holds now: one walk with a stat of every file, and a memory of the last walk to compare it with.

A folder's files are one flat list (name, mode, size, mtime_ns, inode, ctime_ns, name, ...), remembered as the bytes that
marshal makes of it: comparing is then one operation of the interpreter, nothing needs to be decoded, and the walk of an
unchanged tree costs little more than its stats.

A file counts as unchanged when all of that is the same. A change within the clock's grain of a read could leave it the
same, so what was changed that shortly before it was read is read again next time (git's "racily clean" entries).
"""

from __future__ import annotations

import heapq
import marshal
import os
import stat
import time
from dataclasses import dataclass, field
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlcli.domain.errors import SnapshotError
from mlcli.stores.ignore import AML_IGNORE, GIT_IGNORE, Rules, add_file, read_rules, rules_above

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

BIGGEST = 10
WIDTH = 6
NAME, MODE, SIZE, CTIME = 0, 1, 2, 5
facts_of = attrgetter("st_mode", "st_size", "st_mtime_ns", "st_ino", "st_ctime_ns")
_NEVER = frozenset({".git"})
_REGULAR = stat.S_IFREG >> 12
_GRAIN_NS = 100_000_000
_COARSE_GRAIN_NS = 3_000_000_000  # file systems that count whole seconds, or two of them
_KINDS = {stat.S_IFSOCK: "a socket", stat.S_IFIFO: "a named pipe", stat.S_IFBLK: "a device", stat.S_IFCHR: "a device"}

Facts = list[Any]
Sized = tuple[int, str]


@dataclass(slots=True)
class Remembered:
    """What the last walk and the last put knew of one folder, in values that marshal can write.

    ``above``: the key of the rules that held there before the folder's own, ``key``: with its own (empty: none).
    ``facts`` (packed), ``folders``, ``odd``: its files, its folders, the names of links; without ``ignored``, the names
    left out. ``followed``: facts, packed, of files behind links that leave the folder. ``links``: name, text, name, ...
    ``digests``: 32 bytes for each file of ``facts``, then of ``followed``. ``node``: the folder's own digest; ``below``:
    those of its folders, in the order of ``folders`` and of the folders behind links.
    """

    above: str
    key: str
    facts: bytes
    folders: list[str]
    odd: list[str]
    ignored: list[str]
    followed: bytes
    links: list[str]
    digests: bytes
    node: bytes
    below: list[bytes]
    biggest: list[Sized]


@dataclass(slots=True)
class Folder:
    """One folder as it is now; fields of the same name as in :class:`Remembered`.

    ``path``: where it is; ``name``: below the snapshot's root (empty, or ending in a slash). ``children``: its folders,
    by name. ``same``: whether its files and links are what ``remembered`` says. ``files`` and ``size`` count all below.
    """

    path: str
    name: str
    above: str
    scanned_ns: int
    key: str = ""
    facts: Facts = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    ignored: list[str] = field(default_factory=list)
    followed: Facts = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    biggest: list[Sized] = field(default_factory=list)
    children: dict[str, Folder] = field(default_factory=dict)
    remembered: Remembered | None = None
    same: bool = False
    files: int = 0
    size: int = 0

    def every(self) -> Iterator[Folder]:
        """Itself and all below it."""
        yield self
        for child in self.children.values():
            yield from child.every()


class _InForce:
    """The rules of a folder. Those of an unchanged folder are known by their key and read only when asked."""

    def __init__(
        self, key: str, rules: Rules | None = None, later: tuple[_InForce, Folder, bytes] | None = None
    ) -> None:
        self.key = key
        self._rules = rules
        self._later = later

    @property
    def rules(self) -> Rules | None:
        if self._later is not None:
            above, folder, base = self._later
            text = read_rules(Path(folder.path) / GIT_IGNORE)
            self._rules = above.rules if text is None else add_file(above.rules, base, text)
            self._later = None
        return self._rules


class Scan:
    """One walk of one code folder, ``leave_out`` (the workspace, should it lie in it) excepted."""

    def __init__(self, root: Path, remembered: Mapping[str, Remembered], leave_out: Path) -> None:
        self._root = os.path.realpath(root)
        self._remembered = remembered
        self._leave_out = os.path.realpath(leave_out)
        self._one_file = os.path.lexists(Path(self._root) / AML_IGNORE)
        self._prefix = b""
        self._mounts = [(self._root, "")]
        self._problems: list[str] = []

    def walk(self) -> Folder:
        """The whole tree. Raises SnapshotError that names every path that cannot be part of a snapshot."""
        try:
            tree = self._folder(self._root, "", self._outermost())
        except OSError as error:
            raise SnapshotError(f"the code folder {self._root} cannot be read: {error.strerror}") from error
        except RecursionError:
            raise SnapshotError(f"the code folder {self._root} is nested too deeply for a snapshot") from None
        if self._problems:
            raise unfit(self._root, self._problems)
        return tree

    def _outermost(self) -> _InForce:
        if self._one_file:
            text = read_rules(Path(self._root) / AML_IGNORE)
            rules = None if text is None else add_file(None, b"", text)
        else:
            rules, self._prefix = rules_above(Path(self._root))
        return _InForce("" if rules is None else rules.key, rules)

    def _folder(self, path: str, name: str, above: _InForce) -> Folder:
        folder = Folder(path, name, above.key, time.time_ns(), remembered=self._remembered.get(name))
        known = folder.remembered
        if known is not None and known.above == above.key:
            self._list(folder, _NEVER.union(known.ignored))
            folder.ignored, folder.key = known.ignored, known.key
            same_names = folder.folders == known.folders and folder.odd == known.odd
            folder.same = same_names and pack(folder.facts) == known.facts
        else:
            known = None
            self._list(folder, _NEVER)
        if folder.same:
            rules = (
                above if folder.key == above.key else _InForce(folder.key, later=(above, folder, self._base(folder)))
            )
        else:
            rules = self._judge(folder, above, known)
        behind = self._resolve(folder, rules) if folder.odd else {}
        self._sum_up(folder)
        for child in folder.folders:
            self._descend(folder, child, f"{path}/{child}", rules)
        for child, target in behind.items():
            self._mounts.append((target, f"{name}{child}"))
            self._descend(folder, child, target, rules)
            self._mounts.pop()
        return folder

    def _descend(self, folder: Folder, child: str, path: str, rules: _InForce) -> None:
        if path == self._leave_out:
            return
        below = self._folder(path, f"{folder.name}{child}/", rules)
        folder.children[child] = below
        folder.files += below.files
        folder.size += below.size

    def _list(self, folder: Folder, skip: frozenset[str]) -> None:
        """Look at the folder's entries, and set apart those that are neither files nor folders."""
        facts: Facts = []
        folder.folders, folder.odd = [], []
        try:
            descriptor = os.open(folder.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            try:
                facts, folder.folders = _entries_of(descriptor, skip)
            finally:
                os.close(descriptor)
        except OSError as error:
            if not folder.name:
                raise
            if not isinstance(error, FileNotFoundError):
                self._problems.append(f"{folder.path}: {error.strerror}")
        folder.facts = facts
        if any(mode >> 12 != _REGULAR for mode in set(facts[MODE::WIDTH])):
            folder.odd = [row[NAME] for row in _rows(facts) if row[MODE] >> 12 != _REGULAR]
            folder.facts = [fact for row in _rows(facts) if row[MODE] >> 12 == _REGULAR for fact in row]

    def _judge(self, folder: Folder, above: _InForce, known: Remembered | None) -> _InForce:
        """Leave out what the rules ignore. The verdicts of ``known`` hold where the rules are the same."""
        rules = self._in_force(folder, above)
        if known is not None and known.key != rules.key:
            known = None
            self._list(folder, _NEVER)
            rules = self._in_force(folder, above)
        folder.key = rules.key
        folder.ignored = [] if known is None else known.ignored
        if rules.rules is None:
            return rules
        settled = frozenset() if known is None else {*unpack(known.facts)[NAME::WIDTH], *known.folders, *known.odd}
        base = self._base(folder)
        files = {name for name in (*folder.facts[NAME::WIDTH], *folder.odd) if name not in settled}
        out = {name for name in files if rules.rules.ignores(base + os.fsencode(name), is_folder=False)}
        folders = {name for name in folder.folders if name not in settled}
        out |= {name for name in folders if rules.rules.ignores(base + os.fsencode(name), is_folder=True)}
        if out:
            folder.facts = [fact for one in _rows(folder.facts) if one[NAME] not in out for fact in one]
            folder.folders = [name for name in folder.folders if name not in out]
            folder.odd = [name for name in folder.odd if name not in out]
            folder.ignored = [*folder.ignored, *out]
        if GIT_IGNORE in folder.ignored:
            folder.above = "?"  # its changes would not be seen: nothing of this folder is taken from memory
        return rules

    def _in_force(self, folder: Folder, above: _InForce) -> _InForce:
        if self._one_file or GIT_IGNORE not in folder.facts[NAME::WIDTH]:
            return above
        text = read_rules(Path(folder.path) / GIT_IGNORE)
        if text is None:
            return above
        rules = add_file(above.rules, self._base(folder), text)
        return _InForce(rules.key, rules)

    def _base(self, folder: Folder) -> bytes:
        return self._prefix + os.fsencode(folder.name)

    # Links, and what is neither file nor folder

    def _resolve(self, folder: Folder, rules: _InForce) -> dict[str, str]:
        """Sort the odd entries: links to keep, files and folders to follow, and what cannot be kept.

        Answers the folders to follow: name -> where it really is.
        """
        behind: dict[str, str] = {}
        for name in folder.odd:
            path = f"{folder.path}/{name}"
            try:
                mode = os.lstat(path).st_mode
                if not stat.S_ISLNK(mode):
                    kind = _KINDS.get(stat.S_IFMT(mode), "not a file")
                    self._problems.append(f"{path}: {kind} cannot be part of a snapshot")
                    continue
                target = os.path.realpath(path, strict=True)
                status = os.stat(target)  # noqa: PTH116
            except OSError:
                self._problems.append(f"{path}: the symbolic link leads nowhere ({_text_of(path)})")
                continue
            text = self._link_text(folder, name, target)
            if text is not None:
                folder.links += [name, text]
            elif stat.S_ISDIR(status.st_mode):
                ignorer = rules.rules
                if ignorer is None or not ignorer.ignores(self._base(folder) + os.fsencode(name), is_folder=True):
                    behind[name] = target
            elif stat.S_ISREG(status.st_mode):
                folder.followed += [name, *facts_of(status)]
            else:
                self._problems.append(f"{path}: leads to {target}, which is not a file")
        known = folder.remembered
        if folder.same and known is not None:
            folder.same = pack(folder.followed) == known.followed and folder.links == known.links
        return behind

    def _link_text(self, folder: Folder, name: str, target: str) -> str | None:
        """What a link says in the snapshot: as it stands, or where its target is in the snapshot. None when it leaves."""
        for place, mounted in reversed(self._mounts):
            if target == place or target.startswith(place + "/"):
                text = _text_of(f"{folder.path}/{name}")
                stays = not os.path.normpath(f"{folder.name}{text}").startswith("..")
                if len(self._mounts) == 1 and stays and not text.startswith("/"):
                    return text
                there = f"{mounted}{target[len(place) :]}".lstrip("/")
                return os.path.relpath("/" + there, "/" + folder.name)
        return None

    def _sum_up(self, folder: Folder) -> None:
        facts = [*folder.facts, *folder.followed] if folder.followed else folder.facts
        folder.files = len(facts) // WIDTH
        folder.size = sum(facts[SIZE::WIDTH])
        known = folder.remembered
        if folder.same and known is not None:
            folder.biggest = known.biggest
        else:
            folder.biggest = heapq.nlargest(BIGGEST, zip(facts[SIZE::WIDTH], facts[NAME::WIDTH], strict=True))


def _entries_of(descriptor: int, skip: frozenset[str]) -> tuple[Facts, list[str]]:
    """The facts of everything in an open folder but folders, and those folders' names: the hot loop of every snapshot.

    By descriptor, for then the kernel need not find the folder again for each of its files.
    """
    facts: Facts = []
    folders: list[str] = []
    add, extend = facts.append, facts.extend
    with os.scandir(descriptor) as entries:
        for entry in entries:
            name = entry.name
            if name in skip:
                continue
            if entry.is_dir(follow_symlinks=False):
                folders.append(name)
                continue
            try:
                found = facts_of(entry.stat(follow_symlinks=False))
            except FileNotFoundError:
                continue
            add(name)
            extend(found)
    return facts, folders


def unfit(root: str, problems: list[str]) -> SnapshotError:
    """The error that tells every path that keeps a folder from being snapshot."""
    shown = problems[:20]
    more = [f"... and {len(problems) - len(shown)} more"] if len(problems) > len(shown) else []
    return SnapshotError(
        f"the code folder {root} cannot be snapshot as it is",
        hint="mend these paths, or leave them out by a line in .amlignore or .gitignore",
        details=(*shown, *more),
    )


def biggest_of(tree: Folder, count: int = BIGGEST) -> tuple[tuple[str, int], ...]:
    """The biggest files of the tree: path and bytes, biggest first."""
    sizes = ((size, folder.name + name) for folder in tree.every() for size, name in folder.biggest)
    return tuple((path, size) for size, path in heapq.nlargest(count, sizes))


def pack(facts: Facts) -> bytes:
    """The facts as bytes that are the same when the facts are (marshal's version 2 knows no references)."""
    return marshal.dumps(facts, 2)


def unpack(data: bytes) -> Facts:
    """The facts that were packed."""
    facts: Facts = marshal.loads(data)  # noqa: S302  (checked where it was read)
    return facts


def to_remember(facts: Facts, scanned_ns: int) -> bytes:
    """The facts, packed; those of a file changed within the clock's grain are made to look changed next time."""
    newest = max(facts[CTIME::WIDTH], default=0)
    if newest < scanned_ns - _COARSE_GRAIN_NS:
        return pack(facts)
    checked: Facts = []
    for row in _rows(facts):
        grain = _COARSE_GRAIN_NS if row[CTIME] % 1_000_000 == 0 else _GRAIN_NS
        checked += row if row[CTIME] < scanned_ns - grain else [*row[:CTIME], -1]
    return pack(checked)


def rows_by_name(facts: Facts) -> dict[str, tuple[int, Facts]]:
    """Each file's position and its row, by name."""
    return {row[NAME]: (position, row) for position, row in enumerate(_rows(facts))}


def _rows(facts: Facts) -> Iterator[Facts]:
    for start in range(0, len(facts), WIDTH):
        yield facts[start : start + WIDTH]


def _text_of(link: str) -> str:
    try:
        return os.readlink(link)  # noqa: PTH115
    except OSError:
        return "?"
