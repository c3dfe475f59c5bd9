"""What no schema can say about a file that its schema allows, all of it at once.

Works on the file as written, in any generation, so that every finding has the place where it can be mended. The checks of
one kind of job stand in :mod:`mlcli.spec.command_checks`, :mod:`mlcli.spec.sweep_checks` and
:mod:`mlcli.spec.pipeline_checks`; only those of the file's own kind are imported.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlcli.domain.errors import Diagnostic
from mlcli.ports.files import FileReader
from mlcli.spec.command_checks import Body, Context, Findings, body_checks, input_checks, names_of
from mlcli.spec.generation import Kind
from mlcli.spec.load import Document
from mlcli.spec.overrides import OPTION

__all__ = ["check"]


def check(document: Document, kind: Kind, reader: FileReader, base: Path) -> tuple[Diagnostic, ...]:
    """Everything found in a file that its schema allows, in file order. ``base``: the absolute folder of the file."""
    if kind.noun != "job" or not isinstance(document.tree, dict):
        return ()
    findings = sorted(_findings(Context(document, kind.generation, reader, base), kind), key=_order)
    return tuple(dict.fromkeys(findings))


def _order(found: Diagnostic) -> tuple[bool, Any, str]:
    return found.place.file.startswith(OPTION), found.place, found.message


def _findings(context: Context, kind: Kind) -> Findings:
    tree = context.document.tree
    if kind.type == "command":
        body = Body(tree, (), {**names_of(tree), "search_space": frozenset()})
        yield from body_checks(context, body)
        yield from input_checks(context, tree, ())
    elif kind.type == "sweep":
        from mlcli.spec.sweep_checks import check_sweep

        yield from check_sweep(context)
    elif kind.type == "pipeline":
        from mlcli.spec.pipeline_checks import check_pipeline

        yield from input_checks(context, tree, ())
        yield from check_pipeline(context)
