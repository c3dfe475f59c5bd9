"""YAML text -> ruamel's parsing events, faster than ruamel makes them by itself: checking a file is mostly this.

Each method here is a shortcut for a case that job files are full of; every other case goes to ruamel's own method.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import StringMark
from ruamel.yaml.events import ScalarEvent
from ruamel.yaml.parser import Parser
from ruamel.yaml.reader import Reader
from ruamel.yaml.scanner import Scanner
from ruamel.yaml.tokens import BlockMappingStartToken, KeyToken, ScalarToken, ValueToken

_PLAIN = frozenset(string.ascii_letters + string.digits + "_$/")  # starts a plain scalar, whatever follows
_BEFORE_TOKENS = frozenset(" \t#\r\n\x85\u2028\u2029\ufeff")
_CHARACTER = r"[A-Za-z0-9_$/.+=@~-]"
_WORDS = rf"{_CHARACTER}+(?:[ :]{_CHARACTER}+)*"
# Plain scalars whose end is certain: in a block with the line break and the next line's indentation.
_IN_BLOCK = re.compile(rf"({_WORDS})(\n *)(?=[A-Za-z0-9_])")
_IN_FLOW = re.compile(rf"({_WORDS})()(?=: |[,\]}}])")
_KEY = re.compile(rf"({_CHARACTER}{{1,100}}):(?=[ \n])")  # YAML allows 1024 characters


def events(text: str) -> Iterator[Any]:
    """The events of a YAML 1.2 stream. Raises ruamel's errors, and on odd text others of Python's own."""
    yaml = _Yaml(typ="safe", pure=True)
    yaml.Reader, yaml.Scanner, yaml.Parser = _Reader, _Scanner, _Parser
    return iter(yaml.parse(text))


class _Yaml(YAML):
    def official_plug_ins(self) -> Any:
        """None; ruamel would look for them on the disk for each file."""
        return []


class _Reader(Reader):
    def forward(self, length: int = 1) -> None:
        """Over printable characters in one step: no line break and no byte order mark is one."""
        if self.buffer[self.pointer : self.pointer + length].isprintable():
            self.pointer += length
            self.index += length
            self.column += length
        else:
            super().forward(length)

    def get_mark(self) -> Any:
        return StringMark(self.name, self.index, self.line, self.column, self.buffer, self.pointer)


class _Scanner(Scanner):
    """Looks for the next token once, not each time that the parser asks what it is."""

    _looked = False

    @cached_property
    def reader(self) -> Any:
        return self.loader.reader

    def check_token(self, *choices: Any) -> bool:
        token = self.peek_token()
        return token is not None and (not choices or isinstance(token, choices))

    def peek_token(self) -> Any:
        if not self._looked:
            while not self.done and (not self.tokens or (self.possible_simple_keys and self.need_more_tokens())):
                self.fetch_more_tokens()
            self._looked = True
        return self.tokens[0] if self.tokens else None

    def get_token(self) -> Any:
        if not self._looked:
            self.peek_token()
        self._looked = False
        self.tokens_taken += 1
        return self.tokens.pop(0)

    def fetch_more_tokens(self) -> Any:
        """Plain scalars without asking what else they could be."""
        reader = self.reader
        if reader.peek() == " ":
            reader.forward()
        if reader.peek() in _BEFORE_TOKENS:
            self.scan_to_next_token()
        if reader.peek() not in _PLAIN:
            return super().fetch_more_tokens()
        self.stale_possible_simple_keys()
        self.unwind_indent(reader.column)
        alone = self.allow_simple_key and not self.possible_simple_keys
        key = _KEY.match(reader.buffer, reader.pointer) if alone else None
        return self._fetch_key(key[1]) if key else self.fetch_plain()

    def _fetch_key(self, text: str) -> Any:
        """A key and its colon at once, where no other key is open."""
        reader, tokens = self.reader, self.tokens
        start = reader.get_mark()
        if not self.flow_context and self.add_indent(start.column):
            tokens.append(BlockMappingStartToken(start, start))
        reader.forward(len(text))
        colon = reader.get_mark()
        reader.forward()
        key, value = ScalarToken(text, True, start, colon), ValueToken(colon, reader.get_mark())
        tokens += KeyToken(start, start), key, value
        self.allow_simple_key = False

    def scan_plain(self) -> Any:
        """The usual one by one match; all others character by character."""
        reader = self.reader
        found = (_IN_FLOW if self.flow_context else _IN_BLOCK).match(reader.buffer, reader.pointer)
        if found is None or len(found[2]) - 1 > self.indent:  # the next line, indented deeper, would go on with it
            return super().scan_plain()
        start = reader.get_mark()
        reader.forward(len(found[1]))
        end = reader.get_mark()
        reader.forward(len(found[2]))
        self.allow_simple_key = bool(found[2])
        return ScalarToken(found[1], True, start, end)


class _Parser(Parser):
    """Finds its scanner once, and asks for each event once."""

    @cached_property
    def scanner(self) -> Any:
        return self.loader.scanner

    def check_event(self, *_choices: Any) -> bool:
        return self.state is not None

    def get_event(self) -> Any:
        return self.state()

    def parse_node(self, block: bool = False, indentless_sequence: bool = False) -> Any:
        """A scalar without tag and anchor without asking what else it could be."""
        token = self.scanner.peek_token()
        if type(token) is not ScalarToken:
            return super().parse_node(block, indentless_sequence)
        self.scanner.get_token()
        self.state = self.states.pop()
        implicit, start, end = (token.plain, not token.plain), token.start_mark, token.end_mark
        return ScalarEvent(None, None, implicit, token.value, start, end, token.style, token.comment)
