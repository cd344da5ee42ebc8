"""The plan of an experiment for a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from stmbench.reporting.durations import duration


@dataclasses.dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One task: what, of which models, whether it is done, about how many seconds it takes, what it lacks."""

    title: str
    models: tuple[str, ...]
    done: bool
    seconds: float | None
    missing: str | None


def plan_table(
    heading: str, lines: Sequence[PlanLine], seconds: float, workers: int, about: Sequence[tuple[str, str]] = ()
) -> Table:
    """A row for each kind of task, and below it the time for all and what is missing; `about` stands above."""
    above = Text(heading)
    for name, text in about:
        above.append(f"\n{name.lower()}: {text}", style="not italic dim")
    table = Table(
        title=above,
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
        pad_edge=False,
        show_edge=False,
        caption_justify="left",
    )
    table.add_column("what", no_wrap=True)
    for name in ("tasks", "models", "done", "to do", "missing", "about"):
        table.add_column(name, justify="right", no_wrap=True)
    for title in dict.fromkeys(line.title for line in lines):
        chosen = [line for line in lines if line.title == title]
        waiting = [line for line in chosen if not line.done and line.missing is None]
        times = [line.seconds for line in waiting if line.seconds is not None]
        table.add_row(
            title,
            str(len(chosen)),
            str(len({model for line in chosen for model in line.models})),
            str(sum(line.done for line in chosen)),
            str(len(waiting)),
            str(sum(line.missing is not None for line in chosen) or "–"),
            duration(sum(times)) if times else "–",
        )
    reasons = dict.fromkeys(line.missing for line in lines if line.missing)
    words = [f"about {duration(seconds)} with {workers} at a time"] if seconds else ["nothing to do"]
    words += [f"missing: {reason}" for reason in list(reasons)[:8]]
    words += [f"... and {len(reasons) - 8} more"] if len(reasons) > 8 else []
    table.caption = Text("\n".join(words), style="dim")
    return table
