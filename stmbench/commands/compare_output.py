"""Output of `stmbench compare`: progress, the comparison, and the rounds as CSV."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from rich.console import Console

from stmbench.commands import streams
from stmbench.commands.progress_line import ProgressLine
from stmbench.comparison.live import Live
from stmbench.comparison.sampling import SIDES, LiveConfig
from stmbench.comparison.worker_process import CodeVersion
from stmbench.errors import OutputError
from stmbench.reporting import comparison as pages
from stmbench.tables.comparison_result import Comparison

TABLE_WIDTH = 100
COLUMNS = ("model", "attempt", "round", "side", "place", "passes", "kind", "wall_seconds", "processor_seconds")


def live_comparison(base: CodeVersion, head: CodeVersion, config: LiveConfig, samples: Path | None) -> Comparison:
    """Run both versions with a progress line; write the rounds if `samples` is given.

    Raises:
        OutputError: `samples` cannot be written; raised before anything is measured.
    """
    if samples is not None:
        _write(samples, "")
    with ProgressLine(Console(stderr=True)) as progress:
        live = Live(base, head, config, listener=progress)
        comparison = live.run()
    if samples is not None:
        _write(samples, rounds_as_csv(live))
    return comparison


def rounds_as_csv(live: Live) -> str:
    """Two rows per side and round: the probe and the passes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for (attempt, model), samples in live.samples.items():
        for number, round_ in enumerate(samples.rounds):
            for index, side in enumerate(SIDES):
                place = int(round_.first != side)
                for kind, seconds in (("probe", round_.probe), ("passes", round_.passes)):
                    writer.writerow((model, attempt, number, side, place, samples.passes, kind, *seconds[index]))
    return text.getvalue()


def show(comparison: Comparison, format: str) -> None:
    """Print the comparison to standard output."""
    if format == "json":
        streams.echo(pages.as_json(comparison))
    elif format == "markdown":
        streams.echo(pages.markdown(comparison), nl=False)
    else:
        # a pipe has no width: use the one that the table is designed for
        streams.console(TABLE_WIDTH).print(pages.terminal(comparison))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise OutputError(f"to write {path}", error.strerror or str(error), "choose another --samples") from error
