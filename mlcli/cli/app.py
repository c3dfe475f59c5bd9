"""The tree of commands. A noun's code is imported when it is typed; ``--help`` prints its line from the table below."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import typer
from typer.core import TyperGroup

from mlcli import __version__
from mlcli.cli.failures import Interrupted
from mlcli.domain.errors import UsageError

SUMMARY = "One job file, any compute: run az ml job YAML of every generation on your own machines."
HELP_FLAGS = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


@dataclass(frozen=True)
class Entry:
    """A command or a noun below a group: its line in the help, and what builds it when it is typed."""

    summary: str
    build: Callable[[], Any]


@dataclass(frozen=True)
class Completion:
    """One word that the shell may complete to, as typer's completion scripts read it."""

    value: str
    help: str
    type: str = "plain"


class LazyGroup(TyperGroup):
    """A group whose members are built one at a time, when they are typed."""

    entries: dict[str, Entry]

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  (typer's signature)
        """The names, in the order of the table."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002  (typer's signature)
        """The member of that name, built now, or None."""
        entry = self.entries.get(cmd_name)
        return entry.build() if entry else None

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """A noun alone asks what there is to do with it."""
        alone = not args and not ctx.resilient_parsing
        return super().parse_args(ctx, ["--help"] if alone else args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The member that is typed. Raises UsageError with the nearest name."""
        known = args[0] in self.entries or args[0].startswith("-") or ctx.resilient_parsing
        if not known:
            raise UsageError(
                f"there is no command {args[0]!r} in {ctx.command_path!r}", hint=self._nearest(ctx, args[0])
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """The table of members, without building any."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.entries[name].summary) for name in self.list_commands(ctx)])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """The names that start so, without building any; typer completes the flags."""
        if incomplete.startswith("-"):
            return super().shell_complete(ctx, incomplete)
        names = (name for name in self.list_commands(ctx) if name.startswith(incomplete))
        return [Completion(name, self.entries[name].summary) for name in names]

    def _nearest(self, ctx: Any, typed: str) -> str:
        import difflib

        near = difflib.get_close_matches(typed, self.list_commands(ctx), n=1)
        return f"did you mean {near[0]!r}?" if near else f"{ctx.command_path} --help"


def group(
    name: str, summary: str, entries: Iterable[tuple[str, Entry]], callback: Callable[..., None] | None = None
) -> Any:
    """A group of lazily built members."""
    app = typer.Typer(
        name=name,
        help=summary,
        cls=LazyGroup,
        add_completion=callback is not None,
        rich_markup_mode=None,
        context_settings=HELP_FLAGS,
    )
    app.callback()(callback or _nothing)
    built: Any = typer.main.get_command(app)
    built.entries = dict(entries)
    return built


def _nothing() -> None:
    pass


def _noun(name: str, summary: str) -> tuple[str, Entry]:
    def build() -> Any:
        return importlib.import_module(f"mlcli.cli.{name}").NOUN.build()

    return name, Entry(summary, build)


NOUNS = (
    _noun("job", "Submit jobs, watch them, fetch what they made."),
    _noun("run", "The same jobs under the older names of these commands."),
    _noun("workspace", "The place where runs and snapshots are kept."),
    _noun("version", "Show which mlcli this is."),
)


def _show_version(value: bool) -> None:
    if value:
        from mlcli.cli.render import write_text

        write_text(f"mlcli {__version__}\n")
        raise typer.Exit


def _root(
    *,
    version: bool = typer.Option(
        False, "--version", "-V", help="Show the version.", callback=_show_version, is_eager=True
    ),
) -> None:
    pass


def root() -> Any:
    """The whole tree, as the command object that typer runs."""
    return group("mlcli", SUMMARY, NOUNS, _root)


def run(arguments: list[str]) -> int:
    """Run a command line; raises what went wrong, for ``failures`` to tell."""
    try:
        code = root().main(args=arguments, prog_name="mlcli", standalone_mode=False)
    except typer.Abort:
        raise Interrupted("interrupted") from None
    return code if isinstance(code, int) else 0
