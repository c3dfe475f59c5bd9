"""YAML text -> ruamel's parsing events, faster than ruamel makes them by itself: checking a file is mostly this."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.parser import Parser
from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tokens import ScalarToken

# Plain scalars whose end is certain: words before a colon, or (with the next line's indentation) at the end of a line;
# in a flow collection words before a colon or what ends the entry.
_WORDS = r"[A-Za-z0-9_.][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*"
_IN_BLOCK = re.compile(_WORDS + r"(?=: |\n( *)[A-Za-z0-9_])")
_IN_FLOW = re.compile(_WORDS + r"(?=: |[,\]}])")
_BEFORE_TOKENS = frozenset(" \t#\r\n\x85\u2028\u2029\ufeff")


def events(text: str) -> Iterator[Any]:
    """The events of a YAML 1.2 stream. Raises ruamel's errors, and on odd text others of Python's own."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Scanner = _Scanner
    yaml.Parser = _Parser
    return iter(yaml.parse(text))


class _Scanner(Scanner):
    """Looks for the next token once, not each time that the parser asks what it is."""

    _looked = False

    @cached_property
    def reader(self) -> Any:
        return self.loader.reader

    def check_token(self, *choices: Any) -> bool:
        if not self._looked:
            self._look()
        return bool(self.tokens) and (not choices or isinstance(self.tokens[0], choices))

    def peek_token(self) -> Any:
        if not self._looked:
            self._look()
        return self.tokens[0] if self.tokens else None

    def get_token(self) -> Any:
        if not self._looked:
            self._look()
        self._looked = False
        if not self.tokens:
            return None
        self.tokens_taken += 1
        return self.tokens.pop(0)

    def scan_to_next_token(self) -> Any:
        if self.reader.peek() in _BEFORE_TOKENS:
            super().scan_to_next_token()

    def scan_plain(self) -> Any:
        """The usual keys and one-line values by one match; all others character by character, as ruamel does."""
        reader = self.reader
        found = (_IN_FLOW if self.flow_context else _IN_BLOCK).match(reader.buffer, reader.pointer)
        indentation = found[1] if found and not self.flow_context else None
        if found is None or (indentation is not None and len(indentation) > self.indent):
            return super().scan_plain()
        start, length = reader.get_mark(), len(found[0])
        reader.pointer += length
        reader.index += length
        reader.column += length
        end = reader.get_mark()
        self.allow_simple_key = indentation is not None
        if indentation is not None:
            reader.forward(1 + len(indentation))
        return ScalarToken(found[0], True, start, end)

    def _look(self) -> None:
        while self.need_more_tokens():
            self.fetch_more_tokens()
        self._looked = True


class _Parser(Parser):
    """Finds its scanner once, not at each step."""

    @cached_property
    def scanner(self) -> Any:
        return self.loader.scanner

    @cached_property
    def resolver(self) -> Any:
        return self.loader.resolver
