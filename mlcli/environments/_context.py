"""A Docker build's context: the folder, what ``.dockerignore`` leaves of it, and the Dockerfile, wherever that is."""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mlcli.domain.errors import EnvironmentBuildError, UnsupportedError
from mlcli.domain.job import BuildContext

_ELSEWHERE = ".dockerfile.mlcli"


@dataclass(frozen=True)
class Context:
    """``root``: the folder (None: there is none, the Dockerfile copies nothing). ``dockerfile``: its name in what is sent.

    ``text``: what it says. ``extra``: it is no file of the folder. ``shown``: what a person calls it.
    """

    root: Path | None
    dockerfile: str
    text: str
    extra: bool
    shown: str

    def digest(self) -> str:
        """sha256 of everything that is sent but the Dockerfile: names, what is executable, contents. Times do not count.

        Raises UnsupportedError for a file that cannot be read.
        """
        import hashlib

        whole = hashlib.sha256()
        for name in self._names():
            if name != self.dockerfile:
                whole.update(f"{name}\0{_state(self._root / name)}\0".encode("utf-8", "surrogateescape"))
        return whole.hexdigest()

    def pack(self) -> IO[bytes]:
        """What is sent, as a tar archive in a temporary file. Raises EnvironmentBuildError when it cannot be made."""
        from docker.utils.build import create_archive, tar

        try:
            if self.root is None:
                made: Any = create_archive(root="/", files=[], extra_files=[(self.dockerfile, self.text)])
            else:
                content = self.text if self.extra else None
                made = tar(self.root, exclude=self._ignored(), dockerfile=(self.dockerfile, content))
        except OSError as failed:
            raise EnvironmentBuildError(
                f"the build context {self.root} could not be packed: {failed}",
                hint="free some space for temporary files, or leave what cannot be read out of it with .dockerignore",
            ) from failed
        return made  # type: ignore[no-any-return]

    @property
    def _root(self) -> Path:
        return self.root or Path("/nowhere")

    def _names(self) -> list[str]:
        from docker.utils.build import exclude_paths

        if self.root is None:
            return []
        try:
            return sorted(exclude_paths(str(self.root), self._ignored(), dockerfile=self.dockerfile))
        except OSError as refused:
            raise _unreadable(refused) from refused

    def _ignored(self) -> list[str]:
        file = self._root / ".dockerignore"
        if not file.is_file():
            return []
        stripped = (line.strip() for line in file.read_text(encoding="utf-8", errors="surrogateescape").splitlines())
        return [line for line in stripped if line and not line.startswith("#")]


def context(build: BuildContext) -> Context:
    """Find the folder and the Dockerfile. Raises UnsupportedError that says what is missing and what is there."""
    root = Path(build.path) if build.path is not None else None
    if root is not None and not root.is_dir():
        is_address = re.match(r"[a-z+]+://|git@", str(build.path))
        raise UnsupportedError(
            f"the build context {build.path} is {'no folder of this machine' if is_address else 'not a folder'}",
            hint="fetch it first, and give its folder" if is_address else "check 'path' of the environment's build",
        )
    if build.dockerfile_text is not None:
        name = _ELSEWHERE if root else "Dockerfile"
        return Context(root, name, build.dockerfile_text, extra=root is not None, shown="the inline Dockerfile")
    if root is None:
        raise UnsupportedError("the environment's build names no context folder", hint="write: build: {path: FOLDER}")
    file = root / build.dockerfile_path
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as failed:
        raise _no_dockerfile(root, file, failed) from failed
    inside = file.resolve().is_relative_to(root.resolve())
    name = file.resolve().relative_to(root.resolve()).as_posix() if inside else _ELSEWHERE
    return Context(root, name, text, extra=not inside, shown=str(file))


def _no_dockerfile(root: Path, file: Path, failed: Exception) -> UnsupportedError:
    if not isinstance(failed, FileNotFoundError):
        return UnsupportedError(f"the Dockerfile {file} cannot be read: {failed}", hint="check 'dockerfile_path'")
    there = sorted(path.relative_to(root).as_posix() for path in root.glob("*") if "dockerfile" in path.name.lower())
    hint = f"set dockerfile_path to {' or '.join(there)}" if there else "check 'path' and 'dockerfile_path'"
    return UnsupportedError(f"there is no Dockerfile {file}", hint=hint)


def _state(path: Path) -> str:
    import hashlib

    try:
        found = path.lstat()
        if stat.S_ISLNK(found.st_mode):
            return f"link {path.readlink()}"
        if not stat.S_ISREG(found.st_mode):
            return f"{stat.S_IFMT(found.st_mode):o}"
        with path.open("rb") as handle:
            digest = hashlib.sha256()
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError as refused:
        raise _unreadable(refused) from refused
    return f"{'executable ' if found.st_mode & stat.S_IXUSR else ''}{digest.hexdigest()}"


def _unreadable(refused: OSError) -> UnsupportedError:
    return UnsupportedError(
        f"a file of the build context cannot be read: {refused}", hint="leave it out with a line in .dockerignore"
    )
