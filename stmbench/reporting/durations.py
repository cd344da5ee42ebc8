"""Durations for people."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """'45 s', '3:20 min', '5.0 h', '12 days'."""
    seconds = round(seconds)
    if seconds < 60:
        return f"{seconds} s"
    if seconds < 3600:
        return f"{seconds // 60}:{seconds % 60:02d} min"
    return f"{seconds / 3600:.1f} h" if seconds < 48 * 3600 else f"{seconds / 86400:.0f} days"
