"""The only place that prints. Records and logs go to standard output; notices, progress and errors to standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from mlcli.cli.formats import FORMATS, WRITERS, Row, as_line, as_table, printable
from mlcli.domain.errors import MlcliError, UsageError

View = Callable[[Any], Any]
"""From a record to something that rich can print."""

Columns = Callable[[Mapping[str, Any]], Row]
"""From a record to the row of ``-o table``."""


def write_text(text: str) -> None:
    """Text to standard output, as UTF-8 whatever the locale, at once."""
    write_bytes(_encoded(text))


def write_bytes(data: bytes) -> None:
    """Bytes to standard output, at once."""
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()


def _encoded(text: str) -> bytes:
    """UTF-8, and nothing else. Bytes that Python could not read in this locale are what they were, where that is UTF-8;
    what is no character at all is shown as an escape, which JSON reads too.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        pass
    try:
        return text.encode("utf-8", "surrogateescape").decode().encode()
    except UnicodeError:
        return text.encode("utf-8", "backslashreplace")


def write_record(record: Any, file: Path) -> None:
    """What a command shows, as JSON in a file. Raises MlcliError."""
    import json

    try:
        file.write_text(json.dumps(record, indent=2, default=str) + "\n", encoding="utf-8")
    except OSError as error:
        raise MlcliError(f"{file} cannot be written: {error.strerror}") from error


def say(text: str) -> None:
    """A line to standard error. What others wrote in it went through ``printable``."""
    sys.stderr.buffer.write(_encoded(f"{text}\n"))
    sys.stderr.buffer.flush()


def coloured(stream: TextIO) -> bool:
    """Whether colour belongs there: a terminal, and nobody asked for none (no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def coloured_output() -> bool:
    """Whether colour belongs to standard output."""
    return coloured(sys.stdout)


class Console:
    """What one command line prints to.

    ``output``: a format of ``FORMATS``, or None for a readable view on a terminal and JSON elsewhere. ``query``: a JMESPath.
    Raises UsageError for either when it is wrong: before anything is done. ``metadata``: a file that gets each record as JSON.
    """

    def __init__(
        self,
        *,
        output: str | None = None,
        query: str | None = None,
        verbose: bool = False,
        quiet: bool = False,
        metadata: Path | None = None,
    ) -> None:
        self._output = _format(output)
        self._select = _compiled(query)
        self._metadata = metadata
        self._verbose = verbose
        self._quiet = quiet
        self._last_byte = b"\n"

    @property
    def asks_for_record(self) -> bool:
        """Whether the person said how a record is to be shown."""
        return self._output is not None or self._select is not None

    @property
    def draws(self) -> bool:
        """Whether standard output is a terminal on which things may change in their place."""
        return sys.stdout.isatty() and os.environ.get("TERM") != "dumb" and not self.asks_for_record

    @property
    def interactive(self) -> bool:
        """Whether a person can be asked: both ends are a terminal."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    def emit(
        self, value: Any, *, view: View | None = None, columns: Columns | None = None, logged_names: bool = False
    ) -> None:
        """Print a record or a list of records, as the person asked for it. ``logged_names``: headings of a table are names
        that jobs have logged, and stay as they are.
        """
        self._end_line()
        if self._metadata is not None:
            write_record(value, self._metadata)
        if self._select is not None:
            value = self._select(value)
            if value is None:
                return
        elif self._output is None and view is not None and sys.stdout.isatty():
            self._print_rich(view(value))
            return
        elif self._output in {"table", "csv"} and columns is not None:
            value = [columns(item) for item in value] if isinstance(value, list) else columns(value)
            if self._output == "table":
                write_text(as_table(value, headings_as_they_are=logged_names))
                return
        self._print(value, self._output or "json")

    def emit_row(self, row: Row, *, first: bool) -> None:
        """Print one row of a list that is still growing, at once. Raises UsageError for --query, which wants it whole."""
        if self._select is not None:
            raise UsageError("--query wants the whole list, and this one grows", hint="leave --follow or --query out")
        form = self._output or ("table" if sys.stdout.isatty() else "json")
        if form != "none":
            write_text(as_line(row, form, first=first))

    def log(self, data: bytes) -> None:
        """Bytes of a job's log, exactly as they are."""
        if data:
            self._last_byte = data[-1:]
            write_bytes(data)

    def end_log(self) -> None:
        """After a log: on a terminal what comes next starts on a line of its own; elsewhere the log stays as it is."""
        if self._last_byte != b"\n" and sys.stdout.isatty():
            self.log(b"\n")

    def notice(self, text: str) -> None:
        """Something good to know, on standard error, unless ``--only-show-errors``."""
        if not self._quiet:
            say(printable(text))

    def detail(self, text: str) -> None:
        """Something for those who asked for more (``--verbose``)."""
        if self._verbose:
            self.notice(text)

    def warn(self, text: str) -> None:
        """Something that may be a mistake."""
        if not self._quiet:
            say(f"{_painted('warning', '33')}: {printable(text)}")

    def complain(self, text: str) -> None:
        """What is wrong with something that was asked about, on standard error."""
        say(printable(text))

    def ask(self, question: str, default: str | None = None) -> str:
        """Ask until there is an answer (an empty one takes the default). Raises UsageError at the end of the input."""
        shown = f"{printable(question)} [{printable(default)}]: " if default else f"{printable(question)}: "
        while True:
            sys.stderr.write(shown)
            sys.stderr.flush()
            line = sys.stdin.readline()
            if not line:
                raise UsageError("no answer")
            answer = line.strip() or default
            if answer:
                return answer

    def confirm(self, question: str) -> bool:
        """Ask, and answer whether the person said yes."""
        sys.stderr.write(f"{printable(question)} [y/N] ")
        sys.stderr.flush()
        return sys.stdin.readline().strip().lower() in {"y", "yes"}

    def _end_line(self) -> None:
        """A record starts on a line of its own, also after a log that ends without one."""
        if self._last_byte != b"\n" and self._output != "none":
            write_bytes(b"\n")
        self._last_byte = b"\n"

    def _print(self, value: Any, form: str) -> None:
        if form == "none":
            return
        text = WRITERS[form](value)
        if form in {"jsonc", "yamlc"} and coloured(sys.stdout):
            self._print_rich(_highlighted(text, form[:-1]), soft_wrap=True)
        else:
            write_text(text)

    def _print_rich(self, renderable: Any, *, soft_wrap: bool = False) -> None:
        from rich.console import Console as RichConsole

        RichConsole(highlight=False).print(renderable, soft_wrap=soft_wrap)


def _format(output: str | None) -> str | None:
    if output is None or output.lower() in FORMATS:
        return output and output.lower()
    import difflib

    near = difflib.get_close_matches(output.lower(), FORMATS, n=1)
    raise UsageError(
        f"--output: there is no format {output!r}",
        hint=f"did you mean {near[0]!r}?" if near else f"one of {', '.join(FORMATS)}",
    )


def _compiled(query: str | None) -> Callable[[Any], Any] | None:
    if query is None:
        return None
    import jmespath
    from jmespath.exceptions import JMESPathError

    def wrong(error: Exception) -> UsageError:
        return UsageError(f"--query: {error}", hint="the grammar is at jmespath.org; put the query in single quotes")

    try:
        compiled = jmespath.compile(query)
    except JMESPathError as error:
        raise wrong(error) from None

    def select(value: Any) -> Any:
        try:
            return compiled.search(value)
        except JMESPathError as error:
            raise wrong(error) from None

    return select


def _highlighted(text: str, language: str) -> Any:
    from rich.syntax import Syntax

    return Syntax("", language, background_color="default").highlight(text.rstrip("\n"))


def heading(word: str) -> str:
    """The word that starts a message of standard error, red where colour belongs."""
    return _painted(word, "36" if word == "hint" else "1;31")


def _painted(word: str, code: str) -> str:
    return f"\x1b[{code}m{word}\x1b[0m" if coloured(sys.stderr) else word
