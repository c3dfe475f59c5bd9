"""How a function becomes a command: the flags that every command has, names by flag or by position, examples in the help.

A command function takes a :class:`Session` and its own flags (annotated types of ``options``); its docstring is its help.
It answers None or an exit code.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, get_args, get_origin, get_type_hints

import typer
from typer.core import TyperCommand

from mlcli.cli import options
from mlcli.cli.app import HELP_FLAGS, Entry, group
from mlcli.cli.failures import Interrupted, ReaderGone
from mlcli.cli.render import Console
from mlcli.domain.errors import UsageError

if TYPE_CHECKING:
    from mlcli.ports.services import Services

CommandFunction = Callable[..., "int | None"]


class Session:
    """One command line being carried out: what it prints to, and the workspace it asks, opened when it is needed."""

    def __init__(self, console: Console, workspace_name: str | None) -> None:
        self.console = console
        self.workspace_name = workspace_name

    @cached_property
    def services(self) -> Services:
        """The workspace."""
        from mlcli.workspace import open_workspace

        return open_workspace(self.workspace_name)


class ExampleCommand(TyperCommand):
    """A command with examples in its help, and az's way of giving several values to one flag."""

    examples: tuple[str, ...] = ()
    spread: frozenset[str] = frozenset()

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag for az's ``--set a=1 b=2``, then parse."""
        return super().parse_args(ctx, list(spread(args, self.spread)))

    def format_epilog(self, ctx: Any, formatter: Any) -> None:
        """The examples, as they are typed."""
        super().format_epilog(ctx, formatter)
        with formatter.section("Examples" if len(self.examples) > 1 else "Example"):
            for example in self.examples:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


def spread(arguments: list[str], flags: frozenset[str]) -> Iterator[str]:
    """``--set a=1 b=2`` as ``--set a=1 --set b=2``: what follows the first value of such a flag and reads ``key=value``
    belongs to it. Pure.
    """
    current: str | None = None
    expecting = False
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            yield argument
            yield from rest
            return
        if expecting:
            expecting = False
        elif argument in flags:
            current, expecting = argument, True
        elif argument.startswith("-") or "=" not in argument:
            current = None
        elif current is not None:
            yield current
        yield argument


@dataclass(frozen=True)
class Command:
    """A function with what its help shows."""

    name: str
    function: CommandFunction
    examples: tuple[str, ...]
    ignored: options.Flags = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The first sentence of the help."""
        return (inspect.getdoc(self.function) or "").partition("\n\n")[0].replace("\n", " ")

    def build(self) -> Any:
        """The command object that typer runs."""
        app = typer.Typer(add_completion=False, rich_markup_mode=None, context_settings=HELP_FLAGS)
        app.command(self.name, cls=ExampleCommand, help=inspect.getdoc(self.function))(
            _flat(self.function, self.ignored)
        )
        built: Any = typer.main.get_command(app)
        built.examples = self.examples
        built.spread = options.SPREAD
        return built


@dataclass(frozen=True)
class Noun:
    """The commands of one noun, in the order in which the help lists them.

    ``ignored``: flags that every one of them accepts for older scripts' sake, unless it has its own of that name.
    """

    name: str
    summary: str
    ignored: options.Flags = field(default_factory=dict)
    commands: dict[str, Command] = field(default_factory=dict)

    def command(self, name: str, *examples: str) -> Callable[[CommandFunction], CommandFunction]:
        """Add the decorated function as the command ``name``."""

        def add(function: CommandFunction) -> CommandFunction:
            self.commands[name] = Command(name, function, examples, self.ignored)
            return function

        return add

    def build(self) -> Any:
        """The group object that typer runs."""
        entries = ((name, Entry(command.summary, command.build)) for name, command in self.commands.items())
        return group(self.name, self.summary, entries)


def _flat(function: CommandFunction, ignored: options.Flags) -> Callable[..., int | None]:
    """The function as typer wants it: one flat list of parameters, the shared ones last, no session."""
    hints = get_type_hints(function, include_extras=True)
    own = [parameter for parameter in inspect.signature(function).parameters.values() if parameter.name != "session"]
    unused = {name: flag for name, flag in {**options.IGNORED, **ignored}.items() if name not in hints}
    named = {parameter.name: mark for parameter in own if (mark := _mark(hints[parameter.name]))}

    def flat(**values: Any) -> int | None:
        shared = {name: values.pop(name) for name in (*options.SHARED, *unused)}
        for name, mark in named.items():
            values[name] = _given(mark, values[name], values.pop(f"{name}_flag"))
        session = _session(shared)
        try:
            return function(session, **values)
        except KeyboardInterrupt:
            raise Interrupted("interrupted") from None
        except BrokenPipeError as error:
            raise ReaderGone from error

    parameters = [
        *(flat_parameter for parameter in own for flat_parameter in _parameters(parameter, hints[parameter.name])),
        *(
            _parameter(name, annotation, default)
            for name, (annotation, default) in {**options.SHARED, **unused}.items()
        ),
    ]
    flat.__name__ = function.__name__
    flat.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    flat.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return flat


def _parameters(parameter: inspect.Parameter, hint: Any) -> Iterator[inspect.Parameter]:
    mark = _mark(hint)
    if mark is None:
        yield _parameter(parameter.name, hint, parameter.default)
        return
    value: Any = (list[str] | None) if mark.many else (str | None)
    complete: dict[str, Any] = {"autocompletion": mark.complete} if mark.complete else {}
    argument = typer.Argument(metavar=mark.metavar, help=mark.help, show_default=False, **complete)
    flag = typer.Option(*mark.flags, metavar=mark.metavar, help="The same, by flag.", show_default=False, **complete)
    yield _parameter(parameter.name, Annotated[value, argument], None)
    yield _parameter(f"{parameter.name}_flag", Annotated[value, flag], None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _mark(hint: Any) -> options.Named | None:
    if get_origin(hint) is not Annotated:
        return None
    return next((extra for extra in get_args(hint)[1:] if isinstance(extra, options.Named)), None)


def _given(mark: options.Named, by_position: Any, by_flag: Any) -> Any:
    """The value, whichever way it was given. Raises UsageError for none, or for one each way."""
    values = [*_listed(by_position), *_listed(by_flag)]
    if not values and not mark.required:
        return [] if mark.many else None
    if not values:
        raise UsageError(f"which {mark.what}? Give {mark.flags[0]} {mark.metavar}")
    if mark.many:
        return list(dict.fromkeys(values))
    if len(set(values)) > 1:
        raise UsageError(f"two values for {mark.metavar}: {values[0]!r} and {values[1]!r}")
    return values[0]


def _listed(value: Any) -> list[str]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


def _session(values: Mapping[str, Any]) -> Session:
    console = Console(
        output=values["output"],
        query=values["query"],
        verbose=values["verbose"] or values["debug"],
        quiet=values["only_show_errors"],
    )
    return Session(console, values["workspace_name"])
