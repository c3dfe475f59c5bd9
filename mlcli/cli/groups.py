"""Groups of typer commands that build a member only when it is typed, and what all our typer commands have in common."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from mlcli.cli.tree import ROOT_FLAGS
from mlcli.domain.errors import UsageError

SETTINGS: Mapping[str, Any] = {"help_option_names": ["-h", "--help"]}
TyperUsageError: Any = typer.BadParameter.mro()[1]
"""Typer's base of what is wrong with a command line; the package that it lives in differs from release to release."""


@dataclass(frozen=True)
class Completion:
    """One word that the shell may complete to, as typer's completion scripts read it."""

    value: str
    help: str
    type: str = "plain"


class _AsTyped:
    """Values as they were typed. Every value here is a text that the command itself converts, so there is nothing for
    typer's own conversion to do, and it would import pydantic to do it: the time of six bare interpreters.
    """

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:  # noqa: ARG002  (typer's signature)
        return value


def as_typed(parameters: list[Any]) -> list[Any]:
    """The same parameters, their values handed on as they were typed. Without effect where typer converts by itself."""
    for parameter in parameters:
        if hasattr(parameter, "_runtime_param"):
            parameter._runtime_param = _AsTyped()  # noqa: SLF001  (typer has no public switch for it)
    return parameters


class LazyGroup(TyperGroup):
    """A group whose members are built one at a time, when they are typed.

    ``summaries``: name -> its line in the help; ``absent``: a name of az's that is not here -> what to do in its place;
    ``build``: what makes a member; ``text``: the group's own help.
    """

    summaries: Mapping[str, str]
    absent: Mapping[str, str]
    build: Callable[[str], Any]
    text: Callable[[str], str]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (typer's signature)
        """The names, in the order of the table."""
        return list(self.summaries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  (typer's signature)
        """The member of that name, built now, or None."""
        return self.build(cmd_name) if cmd_name in self.summaries else None

    def get_params(self, ctx: Any) -> list[Any]:
        """The group's own flags, ``--help`` too."""
        return as_typed(super().get_params(ctx))

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A noun alone asks what there is to do with it. Raises UsageError."""
        alone = not args and not ctx.resilient_parsing
        try:
            return super().parse_args(ctx, ["--help"] if alone else args)
        except TyperUsageError as error:
            known = [name for shown in ROOT_FLAGS for name in shown.split(", ")]
            raise refusal(error, ctx, known, "other flags follow the command: mlcli job list -o table") from None

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The member that is typed. Raises UsageError with the nearest name."""
        if args[0] not in self.summaries and not ctx.resilient_parsing:
            message = f"there is no command {args[0]!r} in '{ctx.command_path}'"
            hint = self.absent.get(args[0]) or _nearest(args[0], self.summaries, ctx.command_path)
            raise UsageError(message, hint=hint)
        return super().resolve_command(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """The help, without building any member."""
        formatter.write(self.text(ctx.command_path))

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """The names that start so, without building any; typer completes the flags."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        return [Completion(name, line) for name, line in self.summaries.items() if name.startswith(incomplete)]


def group(
    name: str,
    summaries: Mapping[str, str],
    build: Callable[[str], Any],
    text: Callable[[str], str],
    callback: Callable[..., None] | None = None,
    *,
    absent: Mapping[str, str] | None = None,
) -> Any:
    """A group of lazily built members; with a ``callback`` it is the root, and has typer's completion flags. ``absent``: as
    :class:`LazyGroup` has it.
    """
    app = typer.Typer(
        name=name,
        cls=LazyGroup,
        add_completion=callback is not None,
        rich_markup_mode=None,
        context_settings=dict(SETTINGS),
    )
    app.callback()(callback or _nothing)
    built: Any = typer.main.get_command(app)
    built.summaries, built.build, built.text, built.absent = summaries, build, text, absent or {}
    return built


def _nothing() -> None:
    pass


def refusal(error: Any, ctx: Any, flags: Any, otherwise: str | None = None) -> UsageError:
    """What typer refuses, in our words: an unknown flag with the nearest one, or else what ``otherwise`` says."""
    unknown = getattr(error, "option_name", None)
    if unknown is not None and hasattr(error, "possibilities"):
        return UsageError(f"unknown flag {unknown!r}", hint=_nearest(unknown, flags, ctx.command_path, otherwise))
    return UsageError(str(error.format_message()).strip(), hint=f"{ctx.command_path} --help")


def _nearest(typed: str, known: Any, path: str, otherwise: str | None = None) -> str:
    import difflib

    near = difflib.get_close_matches(typed, known, n=1)
    if not near:
        return otherwise or f"{path} --help"
    return f"did you mean {near[0]!r}?" if typed.startswith("-") else f"did you mean '{path} {near[0]}'?"
