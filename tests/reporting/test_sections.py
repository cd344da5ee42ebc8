"""What sections say of their rows: leads, caveats, and a table of whatever has no section of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import BboxImage

from stmbench.figures.annotations import marks_in
from stmbench.reporting import build_report, read_stores
from stmbench.tables import Row, Store
from tests.reporting.rows import like, only
from tests.tables.frames import MIXERS, profile_rows
from tests.tables.robustness_frames import attacked, frame, of_five

LEVELS = tuple(float(level) for level in range(0, 50, 5))


def evaluated(values: dict[str, float], half: float = 0.02, **changes: Any) -> list[Row]:
    changes = {"weights": "trained.s0:0a1b", **changes}
    return [
        like(attacked(mixer)[0], analysis="eval", definition="eval.v1", level=None, value=value, ci_low=value - half,
             ci_high=value + half, **changes)
        for mixer, value in values.items()
    ]  # fmt: skip


def curve(mixer: str, levels: tuple[float, ...] = LEVELS, **changes: Any) -> list[Row]:
    rows = [
        like(attacked(mixer)[0], analysis="invariance_rotation", definition="stmbench.v1", metric="consistency",
             level=level, value=1 - level / 100, ci_low=0.9 - level / 100, ci_high=1.0, **changes)
        for level in levels
    ]  # fmt: skip
    return [*rows, like(rows[0], metric="consistency_auc", level=levels[-1], value=0.775, ci_low=0.7, ci_high=0.8)]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"dw_conv": 0.8}, "DW-Conv: accuracy 80.0 % (78.0 to 82.0)."),
        (
            {"dw_conv": 0.8, "sr_attn": 0.7},
            "DW-Conv has the highest accuracy of 2: 80.0 % (78.0 to 82.0), clear of all others' intervals.",
        ),
        (
            {"sr_attn": 0.79, "dw_conv": 0.8, "dcnv3": 0.1},
            "DW-Conv has the highest accuracy of 3: 80.0 % (78.0 to 82.0); its interval overlaps that of SR-Attn.",
        ),
        ({"sr_attn": 0.5, "dw_conv": 0.5}, "All 2 models have the same accuracy: 50.0 % (48.0 to 52.0)."),
    ],
)
def test_lead_of_an_evaluation(values: dict[str, float], expected: str) -> None:
    assert only(evaluated(values)).lead == expected


def test_only_untrained_weights_are_stated_and_once() -> None:
    both = only([*evaluated({"dw_conv": 0.8}, weights="random:0"), *evaluated({"sr_attn": 0.7})])
    assert [caveat.text[:28] for caveat in both.caveats] == ["DW-Conv has random weights: "]
    assert (
        both.lead == "SR-Attn: accuracy 70.0 % (68.0 to 72.0). DW-Conv has random weights, whose accuracy is no result."
    )
    alone = only(evaluated({"dw_conv": 0.8})).caveats
    assert [caveat.text for caveat in alone] == [
        "No figure of accuracy: it would hold one point; the table has its value."
    ]


def test_lead_ignores_untrained_accuracies() -> None:
    section = only(evaluated({"dw_conv": 0.0, "sr_attn": 0.0}, weights="random:0"))
    assert section.lead == "DW-Conv and SR-Attn have random weights, whose accuracy is no result."
    attack = only(of_five(weights="random:0"))
    assert attack.lead == "5 models have random weights, whose accuracy under FGSM at 8/255 is no result."
    mixed = only([*curve("dw_conv"), *curve("sr_attn", weights="trained.s0:0a1b")])
    assert mixed.lead == (
        "DW-Conv: mean consistency without training 77.5 % (70.0 to 80.0). "
        "SR-Attn: mean consistency after training 77.5 % (70.0 to 80.0)."
    )


def test_a_lead_is_of_models_and_not_of_single_trainings() -> None:
    trained = {seed: evaluated(values, weights=f"digits.e12.s{seed}:a{seed}", seed=seed) for seed, values in
               enumerate([{"dw_conv": 0.9, "sr_attn": 0.8}, {"dw_conv": 0.5, "sr_attn": 0.7}])}  # fmt: skip
    assert only([*trained[0], *trained[1]]).lead == (
        "SR-Attn has the highest accuracy of 2: 75.0 % (68.0 to 82.0) on average over 2 seeds; its interval overlaps "
        "that of DW-Conv."
    )


def test_accuracies_are_compared_on_the_same_data_size_and_precision() -> None:
    two = [*evaluated({"dw_conv": 0.8, "sr_attn": 0.7}), *evaluated({"dcnv3": 0.9}, resolution=384)]
    assert only(two).lead == (
        "DW-Conv · 224 px has the highest accuracy of 2: 80.0 % (78.0 to 82.0), clear of all others' intervals. "
        "DCNv3 · 384 px: accuracy 90.0 % (88.0 to 92.0)."
    )


def test_invariance_section_has_areas_levels_and_grouped_reasons() -> None:
    skipped = [
        like(row, value=None, ci_low=None, ci_high=None, status="skipped", reason=f"40 end before {row.level:g} px")
        for mixer in ("dw_conv", "sr_attn", "dcnv3")
        for row in curve(mixer)[7:9]
    ]
    rows = [row for mixer in ("dw_conv", "sr_attn", "dcnv3") for row in curve(mixer, LEVELS[:7])]
    section = only([*rows, *skipped])
    assert [table.title for table in section.tables] == ["Areas under the curves", "Consistency", "Every level"]
    assert [column.heading for column in section.tables[1].columns] == ["Model", *(f"{x:g}°" for x in LEVELS[:7])]
    assert len(section.plots) == 1
    (caveat,) = [caveat for caveat in section.caveats if caveat.kind == "skipped"]
    assert caveat.text == "All 3 models (6 rows): 40 end before 35 px (and 1 more like it)"


def test_a_single_level_is_no_curve() -> None:
    section = only([row for row in curve("dw_conv", (0.0,)) if row.metric == "consistency"])
    assert section.plots == ()
    assert [(table.title, len(table.lines)) for table in section.tables] == [("Every level", 1)]
    assert section.lead == "No mean consistency was measured."


def test_robustness_section_has_a_table_for_each_attack() -> None:
    check = like(attacked()[0], metric="validity", condition="fgsm_not_below", value=None, ci_low=None, ci_high=None,
                 status="skipped", reason="only FGSM was run")  # fmt: skip
    tests = attacked(metric="mcnemar_p_holm", baseline="unified_sr_attn_micro", value=0.0004, ci_low=None, ci_high=None)
    gain = [like(row, metric="accuracy_difference", value=0.25, ci_low=0.125, ci_high=0.375) for row in tests]
    section = only([*of_five(weights="trained.s0:0a1b"), check, *tests[:1], *gain[:1]])
    titles = ["Accuracy under FGSM", "McNemar's test between models"]
    assert [table.title for table in section.tables] == titles
    assert [cell.text for cell in section.tables[1].lines[0].cells] == [
        "DW-Conv and SR-Attn", "FGSM", "clean", "25.0", "–", "< 0.001", "differ",
    ]  # fmt: skip
    assert section.lead.startswith("Halo-Attn has the highest accuracy under FGSM at 8/255 of 5: 12.0 %")
    assert {caveat.kind for caveat in only(of_five()).caveats} == {"untrained"}


def test_checks_of_validity_have_a_table_of_their_own() -> None:
    base = like(attacked()[0], ci_low=None, ci_high=None)
    zero = like(base, metric="zero_gradient_share", level=None, value=0.25)
    checks = [
        like(base, metric="validity", condition="within_eps", level=eps, value=value)
        for eps, value in ((2 / 255, 1.0), (8 / 255, 0.0))
    ]
    table = only([*of_five(), zero, *checks]).tables[-1]
    assert [column.heading for column in table.columns] == ["Model", "Level", "Within eps", "Zero gradient share"]
    assert [[cell.text for cell in line.cells] for line in table.lines] == [
        ["DW-Conv", "–", "–", "0.250"],
        ["DW-Conv", "2/255", "1", "–"],
        ["DW-Conv", "8/255", "0", "–"],
    ]


def test_heads_are_shown_by_their_mean() -> None:
    known = like(attacked()[0], metric="static_share", level=None, ci_low=None, ci_high=None)
    heads = [like(known, value=0.4 + head / 100, head=head) for head in range(3)]
    rest = only([*of_five(), like(known, value=0.41), *heads]).tables[-1]
    assert [line.cells[-2].text for line in rest.lines] == ["0.410"]
    assert len(only([*of_five(), *heads]).tables[-1].lines) == 3


def test_values_shown_nowhere_else_get_their_own_table() -> None:
    known = attacked(metric="static_share", level=None, ci_low=None, ci_high=None)[:1]
    rest = only([*of_five(), *(like(row, value=0.4321) for row in known)]).tables[-1]
    assert (rest.name, rest.title, len(rest.lines)) == ("robustness-rest", "Also measured", 1)
    assert [cell.text for cell in rest.lines[0].cells][:2] == ["DW-Conv", "static share"]
    assert only(of_five()).tables[-1].name != "robustness-rest"
    many = [like(row, value=0.4321 + place / 1000, head=place) for place in range(300) for row in known]
    rest = only([*of_five(), *many, *(like(row, metric="centroid_x", unit="px") for row in many)]).tables[-1]
    assert len(rest.lines) == 500
    assert rest.note == "Of 600 values the first 250 of each kind; `stmbench export` gives all."


def test_many_pairwise_tests_are_shortened_on_paper() -> None:
    rows = [
        like(row, metric="mcnemar_p_holm", baseline="unified_sr_attn_micro", level=float(number), value=p)
        for number, p in enumerate([0.001] * 3 + [0.9] * 60)
        for row in attacked()[:1]
    ]
    (table,) = (table for table in only([*of_five(), *rows]).tables if table.name == "robustness-tests")
    assert len(table.lines) == 63
    assert table.note.endswith("3 of 63 differ.")
    paper = table.on_paper
    assert len(paper.lines) == 30
    assert paper.note.endswith("33 more lines are in the page and in the store.")
    assert paper.on_paper is paper


def test_an_analysis_without_a_section_keeps_its_values() -> None:
    rows = [
        like(attacked()[0], analysis="probing", definition="probing.v1", metric=metric, level=None, step=step,
             value=value / (step + 1), ci_low=None, ci_high=None)
        for metric, value in (("train_loss", 2.5), ("learning_rate", 0.004))
        for step in range(5)
    ]  # fmt: skip
    section = only(rows)
    assert (section.name, section.heading, section.definition) == ("probing", "Probing", None)
    (table,) = section.tables
    texts = [[cell.text for cell in line.cells] for line in table.lines]
    assert [row[:2] for row in texts] == [["DW-Conv", "train loss"], ["DW-Conv", "learning rate"]]
    assert [row[2] for row in texts] == ["4", "4"]
    assert [line.cells[3].value for line in table.lines] == pytest.approx([0.5, 0.0008])
    assert "the last is shown" in table.note


def test_stores_are_joined_and_their_artifacts_found(tmp_path: Path) -> None:
    for name, mixer in (("one", "dw_conv"), ("two", "sr_attn")):
        store = Store(tmp_path / name)
        np.save(store.require_writable().artifact("k", "x.npy"), np.zeros(1))
        rows = [like(row, artifact="parts/k.x.npy") for row in attacked(mixer)]
        store.write("k", rows, metadata={"mixers": {mixer: MIXERS[mixer]}, "commit": name, "warnings": [f"of {name}"]})
    whole = read_stores([tmp_path / "one", str(tmp_path / "two"), tmp_path / "one" / ".." / "one"])
    assert len(whole) == 8
    assert all(Path(path).is_file() for path in whole["artifact"])
    report = build_report(whole)
    assert [subject.label for subject in report.subjects] == ["DW-Conv", "SR-Attn"]
    assert {caveat.text for caveat in report.caveats} >= {"of one", "of two"}
    assert any("Rows of 2 commits" in caveat.text for caveat in report.caveats)


def test_missing_or_truncated_maps_are_counted(tmp_path: Path) -> None:
    store = Store(tmp_path).require_writable()
    np.savez(store.artifact("k", "good.npz"), magnitude_0=np.ones((4, 4)), centre_0=np.array([2.0, 2.0]))
    store.artifact("k", "cut.npz").write_bytes(store.artifact("k", "good.npz").read_bytes()[:100])
    rows = [
        like(attacked(mixer)[0], analysis="erf", definition="stmbench.magnitude.linear.v1", metric="erf",
             unit="input_side", stage=0, level=50.0, artifact=f"parts/k.{name}.npz")
        for mixer, name in (("dw_conv", "good"), ("sr_attn", "cut"), ("dcnv3", "gone"))
    ]  # fmt: skip
    store.write("k", rows, metadata={"mixers": MIXERS})
    report = build_report(read_stores([tmp_path]))
    assert [caveat.text for caveat in report.caveats] == [
        "Files of maps that are missing or damaged: 2, such as k.cut.npz; their pictures are left out."
    ]
    (section,) = report.sections
    assert len(section.tables[0].lines) == 3
    assert len([image for plot in section.plots for image in plot.figure.findobj(BboxImage)]) == 1


def test_rank_section_precedes_sections_of_several_analyses() -> None:
    accuracies = [like(row, resolution=224) for row in evaluated({"dw_conv": 0.8, "sr_attn": 0.7, "dcnv3": 0.75})]
    costs = [row for row in profile_rows(["dw_conv", "sr_attn", "dcnv3"], raw=False)
             if row.metric in ("throughput", "macs")]  # fmt: skip
    both, _, _ = build_report(frame([*costs, *accuracies])).sections
    assert both.heading == "Accuracy, cost and rank"
    assert both.lead == "DW-Conv is on the front of accuracy and throughput of 3 models."
    assert [plot.name for plot in both.plots] == ["standing", "accuracy_throughput", "accuracy_macs"]
    assert both.caveats == ()
    random = build_report(frame([*costs, *(like(row, weights="random:0") for row in accuracies)])).sections
    assert random[0].heading == "Ranks"
    assert [caveat.kind for caveat in random[0].caveats] == ["untrained"]
    ranks, *_ = build_report(frame([*costs, *of_five(weights="trained.s0:0a1b")])).sections
    assert ranks.heading == "Ranks"
    # first in MACs and, of the three that have all quantities, in robustness; second in throughput
    assert ranks.lead == "SR-Attn has the best mean rank of 3 models: 1.3 over 3 quantities."
    assert len(build_report(frame(costs)).sections) == 1


def test_two_models_of_one_mixer_are_hidden_separately() -> None:
    rows = profile_rows(["dw_conv"])
    rows += [like(row, model=f"{row.model}[kernel_size=3]") for row in rows if row.model is not None]
    report = build_report(frame(rows))
    both = {"unified_dw_conv_micro", "unified_dw_conv_micro[kernel_size=3]"}
    assert [subject.model for subject in report.subjects] == sorted(both)
    assert {subject.label for subject in report.subjects} == {"DW-Conv", "DW-Conv, kernel_size=3"}
    plots = [plot for section in report.sections for plot in section.plots]
    assert len(plots) > 3
    for plot in plots:
        assert {mark.model for mark in marks_in(plot.figure).values()} == both, plot.name


def test_a_front_of_one_trained_model_is_left_out_and_said() -> None:
    rows = [*profile_rows(["dw_conv", "sr_attn"], raw=False), *evaluated({"dw_conv": 0.9})]
    rows = [
        like(row, model=f"unified_{row.mixer}_micro", resolution="224", device="cpu") if row.mixer else row
        for row in rows
    ]
    together = build_report(frame(rows)).sections[0]
    assert together.name == "together"
    assert not [plot.name for plot in together.plots if plot.name.startswith("accuracy")]
    said = [caveat.text for caveat in together.caveats]
    assert "No figure of accuracy against throughput or MACs: one trained model is no front." in said


def test_a_trainings_time_stands_in_its_row_where_other_trainings_have_another_batch() -> None:
    """Times name the batch, which both kinds of training have; accuracies, of one kind each, do not."""
    rows = []
    for metric, batch, weights in (("accuracy", 64, "shapes.e15.s0:a"), ("knn_accuracy", 32, "shapes.dino.e16.s0:b")):
        for mixer, seconds in (("dw_conv", 50.0), ("sr_attn", 80.0)):
            trained: dict[str, Any] = {"analysis": "train", "definition": "train.v1", "level": None, "seed": 0}
            trained |= {"weights": f"{weights}{mixer}", "batch_size": batch, "ci_low": None, "ci_high": None}
            rows.append(like(attacked(mixer)[0], metric=metric, value=0.9, **trained))
            rows.append(like(attacked(mixer)[0], metric="training_time", value=seconds + batch, unit="s", **trained))
    (table, *_) = only(rows).tables
    lines = [[cell.text for cell in line.cells[1:]] for line in table.lines]
    assert lines == [["90.0", "–", "114"], ["90.0", "–", "144"], ["–", "90.0", "82"], ["–", "90.0", "112"]]
