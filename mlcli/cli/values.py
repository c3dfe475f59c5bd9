"""What people type for times, spans, statuses and tags, as values. Pure; every refusal is a UsageError."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timezone

from mlcli.domain.errors import UsageError
from mlcli.domain.state import State

_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_SPAN = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")


def span(text: str, flag: str) -> float:
    """Seconds of ``90``, ``90s``, ``30m``, ``12h``, ``7d``, ``2w`` or a sum such as ``1h30m``."""
    compact = text.replace(" ", "").lower()
    if re.fullmatch(r"\d+(\.\d+)?", compact):
        return float(compact)
    parts = _SPAN.findall(compact)
    if not parts or "".join(number + unit for number, unit in parts) != compact:
        raise UsageError(f"{flag}: {text!r} is not a span of time", hint="write 90s, 30m, 12h, 7d, 2w or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in parts)


def moment(text: str, flag: str, now: float) -> float:
    """Seconds since the epoch of a date, a time (local unless it says its zone) or a span ago (``7d``)."""
    try:
        return now - span(text, flag)
    except UsageError:
        pass
    try:
        stamp = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
    except ValueError:
        raise UsageError(
            f"{flag}: {text!r} is neither a date nor a span of time",
            hint="write 2024-05-31, 2024-05-31T18:30, 2024-05-31T16:30:00Z, or 7d for seven days ago",
        ) from None
    return stamp.timestamp()


def states(given: Iterable[str]) -> frozenset[State] | None:
    """The states of ``--status``, in any case, several with commas; None when none is given."""
    words = [word.strip() for text in given for word in text.split(",") if word.strip()]
    return frozenset(_state(word) for word in words) or None


def _state(word: str) -> State:
    known = {state.value.lower(): state for state in State}
    spelt = word.lower().replace("_", "").replace("cancelled", "canceled")
    if spelt in known:
        return known[spelt]
    import difflib

    near = difflib.get_close_matches(spelt, known, n=1)
    hint = f"did you mean {known[near[0]].value}?" if near else f"one of {', '.join(state.value for state in State)}"
    raise UsageError(f"--status: there is no status {word!r}", hint=hint)


def wanted_tags(given: Iterable[str]) -> Mapping[str, str | None]:
    """``key=value`` pairs to look for; a ``key`` alone asks for any value."""
    return {key: value if equals else None for key, equals, value in (text.partition("=") for text in given)}


def local_time(seconds: float) -> datetime:
    """The moment in the zone of this machine."""
    return datetime.fromtimestamp(seconds, tz=timezone.utc).astimezone()
