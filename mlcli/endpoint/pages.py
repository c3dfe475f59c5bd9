"""What all searches have in common: which stages are wanted, and pages of what was found."""

from __future__ import annotations

from typing import Any

from . import fields
from .run import ACTIVE, DELETED

_VIEWS = {1: "ACTIVE_ONLY", 2: "DELETED_ONLY", 3: "ALL"}


def view_type(request: fields.Request, name: str) -> str:
    """The word for the stages that are wanted."""
    return fields.status(request, name, _VIEWS) or "ACTIVE_ONLY"


def in_view(stage: str, view: str) -> bool:
    """Whether something of that stage is wanted."""
    return view == "ALL" or stage == (ACTIVE if view == "ACTIVE_ONLY" else DELETED)


def page(name: str, found: list[Any], request: fields.Request, default: int, limit: int) -> dict[str, Any]:
    """Those that the client asked for, and the token of the next page if there is one."""
    start, size = fields.offset(request), fields.most(request, default, limit)
    answer: dict[str, Any] = {name: found[start : start + size]}
    if len(found) > start + size:
        answer["next_page_token"] = str(start + size)
    return answer
