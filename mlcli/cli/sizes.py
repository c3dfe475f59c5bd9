"""Amounts as people read them. Pure."""

from __future__ import annotations

_SIZES = ("bytes", "KB", "MB", "GB", "TB", "PB")


def size(count: float) -> str:
    """Bytes: ``512 bytes``, ``1.4 MB`` (powers of 1000)."""
    unit = 0
    while round(count, 1) >= 1000 and unit < len(_SIZES) - 1:
        count /= 1000
        unit += 1
    return f"{count:.0f} {_SIZES[0]}" if unit == 0 else f"{count:.1f} {_SIZES[unit]}"


def span(seconds: float) -> str:
    """Seconds: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``5 h 4 min``, ``3 d 2 h``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    for length, unit, finer_length, finer in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= length:
            count, rest = divmod(whole, length)
            return f"{count} {unit} {rest // finer_length} {finer}" if rest // finer_length else f"{count} {unit}"
    return f"{whole} s"
