"""What the embedded studies found of each mixer, kept as `benchmarks/findings.csv` for the cards of docs/mixers.md.

    stmbench run modern_mixers
    stmbench run modern_relations
    python -m benchmarks.mixer_cards docs results/modern_mixers results/modern_relations

A store is gone with the machine that it was made on; the few values that the cards say stay here: one for each finding,
mixer and training. A store that is named replaces the findings that it has values of, mixer by mixer.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pandas as pd

from stmbench.tables import read

KEPT: Final = Path(__file__).with_name("findings.csv")
COLUMNS: Final = ["finding", "mixer", "training", "value"]
CONTROL: Final = "identity"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Finding:
    """Rows of a study's store, and the sentence that is made of them: {0} is the mixer's mean, {1} the control's."""

    name: str
    text: str
    analysis: str
    where: Mapping[str, Any]
    learned: float | None = None  # the value above which a training is counted, in place of a mean
    weights: str = "digits"  # how their name begins: the data of the training; "random" of what is timed

    def rows(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Those of a store's summaries that it is about."""
        is_meant = frame["weights"].str.startswith(self.weights).fillna(False)
        rows = frame[(frame["kind"] == "summary") & (frame["analysis"] == self.analysis) & is_meant]
        for column, value in self.where.items():
            close = (rows[column] - value).abs() < 1e-9 if isinstance(value, float) else rows[column] == value
            rows = rows[close.fillna(False)]
        return rows[rows["value"].notna()]


FINDINGS: Final = (
    Finding(name="accuracy", text="{0:.1%} correct (identity {1:.1%})", analysis="eval", where={"metric": "accuracy"}),
    Finding(
        name="throughput",
        text="{0:,.0f} images/s at nano (identity {1:,.0f})",
        analysis="profile",
        where={"metric": "throughput"},
        weights="random",
    ),
    Finding(
        name="erf",
        text="ERF@50 of {0:.0%} of the side after the second stage",
        analysis="erf",
        where={"metric": "erf", "definition": "stmbench.magnitude.linear.v1", "stage": 1},
    ),
    Finding(
        name="shifts",
        text="same answer under shifts of up to 8 px for {0:.1%} (identity {1:.1%})",
        analysis="invariance_translation",
        where={"metric": "consistency_auc"},
    ),
    Finding(
        name="fgsm",
        text="{0:.1%} correct under FGSM at 8/255 (identity {1:.1%})",
        analysis="robustness",
        where={"metric": "accuracy", "level": 8 / 255},
    ),
    Finding(
        name="frequency",
        text="the log amplitude of its highest frequency changes by {0:+.2f}",
        analysis="frequency",
        where={"metric": "relative_log_amplitude_change", "condition": "mean over mixers"},
    ),
    Finding(
        name="relation",
        text="{0:.0f} of {2} trainings learn a relation of distant figures (identity {1:.0f})",
        analysis="eval",
        where={"metric": "accuracy"},
        weights="shapes",
        learned=0.9,  # of two classes: trainings reach 1, or stay near 0.5
    ),
)


def kept() -> pd.DataFrame:
    """The values of all findings."""
    return pd.read_csv(KEPT)


def renewed(stores: Sequence[Path]) -> pd.DataFrame:
    """`kept`, after the stores' values have replaced those of the findings that they hold, in the file too."""
    values = kept()
    for store in stores:
        frame = read(store)
        for finding in FINDINGS:
            rows = finding.rows(frame)
            if len(rows):
                new = rows.assign(finding=finding.name, training=rows["weights"])[COLUMNS]
                is_old = (values["finding"] == finding.name) & values["mixer"].isin(new["mixer"])
                values = pd.concat([values[~is_old], new])
    order = [finding.name for finding in FINDINGS]
    values = values.sort_values("finding", key=lambda names: names.map(order.index), kind="stable")
    values.to_csv(KEPT, index=False)
    return values


def sentences(values: pd.DataFrame) -> dict[str, str]:
    """mixer -> what was found of it."""
    said: dict[str, list[str]] = {}
    for finding in FINDINGS:
        rows = values[values["finding"] == finding.name]
        each = rows.groupby("mixer")["value"]
        shown = (
            each.mean() if finding.learned is None else rows["value"].gt(finding.learned).groupby(rows["mixer"]).sum()
        )
        for mixer, value in shown.items():
            text = finding.text.format(value, shown.get(CONTROL, float("nan")), len(each.get_group(mixer)))
            said.setdefault(str(mixer), []).append(text)
    return {mixer: "; ".join(texts) for mixer, texts in said.items()}


def seeds_in(values: pd.DataFrame) -> str:
    """How many trainings of each mixer there are, in words."""
    counts = values[values["finding"] == "accuracy"].groupby("mixer")["training"].nunique()
    return "one seed" if counts.eq(1).all() else f"means over {counts.max()} seeds"
