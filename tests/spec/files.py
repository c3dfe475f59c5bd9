"""A file system of a few files, for tests that need no disk."""

from __future__ import annotations

from pathlib import Path


class Files:
    """A FileReader over a mapping of absolute paths to texts (bytes for what is not UTF-8); parents are folders."""

    def __init__(self, files: dict[str, str | bytes] | None = None) -> None:
        self.files = {Path(name): text for name, text in (files or {}).items()}

    def read_text(self, path: Path) -> str:
        if path not in self.files:
            raise FileNotFoundError(2, "No such file or directory", str(path))
        text = self.files[path]
        return text.decode() if isinstance(text, bytes) else text

    def is_file(self, path: Path) -> bool:
        return path in self.files

    def is_dir(self, path: Path) -> bool:
        return any(path in file.parents for file in self.files)


BASE = Path("/job")
CORPUS = Path(__file__).parents[2].parent / "shared" / "reference" / "corpus"
