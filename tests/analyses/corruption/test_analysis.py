"""From images to rows: what a run of the corruptions leaves in the store."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stmbench.analyses.corruption.analysis import CorruptionConfig, CorruptionStudy
from stmbench.analyses.corruption.options import CLEAN
from stmbench.analyses.corruption.scores import Answers
from stmbench.analyses.corruption.transforms import corrupt
from stmbench.analyses.images import ImageRequest
from stmbench.errors import InputError
from stmbench.tables import Store
from tests.data.builders import tree

MODEL, OTHER = "unified_dw_conv_nano", "unified_sr_attn_nano"
SOME = ("brightness", "contrast", "gaussian_noise")


def study(folder: Path, models: tuple[str, ...] = (MODEL,), **changes: Any) -> CorruptionStudy:
    config = {"corruptions": SOME, "baseline": None, "as_jpeg": False}
    config |= {name: changes.pop(name) for name in list(changes) if name in config}
    fields = {"models": models, "dataset": "digits", "num_images": 8, "batch_size": 8}
    fields |= {"resolution": (32, 32), **changes}
    return CorruptionStudy(CorruptionConfig(**config), ImageRequest(**fields), Store(folder))  # type: ignore[arg-type]


def values(frame: pd.DataFrame, metric: str, model: str = MODEL) -> dict[tuple[str | None, float], float]:
    rows = frame[(frame["metric"] == metric) & (frame["model"] == model)].to_dict("records")
    return {(None if pd.isna(row["condition"]) else row["condition"], row["level"]): row["value"] for row in rows}


def test_rows_of_one_model(tmp_path: Path) -> None:
    report = study(tmp_path).run()
    frame = Store(tmp_path).read()
    accuracy = values(frame, "accuracy")
    assert report.measured == 4
    assert set(accuracy) == {(CLEAN, 0), *((name, level) for name in SOME for level in range(1, 6))}
    rows = frame[frame["metric"] == "accuracy"]
    assert set(rows["definition"]) == {"corruption.stmbench.v1"}
    assert (rows["num_samples"] == 8).all()
    assert ((rows["ci_low"] <= rows["value"]) & (rows["value"] <= rows["ci_high"])).all()
    mean = {condition: value for (condition, _), value in values(frame, "mean_accuracy").items()}
    order = ("gaussian_noise", "brightness", "contrast")
    for name in order:
        assert mean[name] == pytest.approx(sum(accuracy[name, level] for level in range(1, 6)) / 5)
    assert mean["+".join(order)] == pytest.approx(sum(mean[name] for name in order) / 3)
    assert set(mean) == {*order, "+".join(order)}
    assert frame["resolution"].notna().all()


def test_predictions_are_those_of_the_corrupted_images(tmp_path: Path) -> None:
    run = study(tmp_path, corruptions=("contrast",))
    run.run()
    frame = Store(tmp_path).read()
    (artifact,) = frame.loc[(frame["condition"] == "contrast") & (frame["metric"] == "accuracy"), "artifact"].unique()
    answers = Answers.read(tmp_path / artifact)
    loaded = run.labelled_model(MODEL)
    for batch in run.pixel_batches(loaded):
        shown = corrupt(batch.images, "contrast", 4, batch.indices)
        expected = loaded.logits(shown).argmax(1)
        places = [answers.indices.tolist().index(index) for index in batch.indices]
        assert torch.equal(torch.from_numpy(answers.predicted[3][places]), expected)


def test_errors_relative_to_a_baseline(tmp_path: Path) -> None:
    study(tmp_path, (MODEL, OTHER), baseline=MODEL).run()
    frame = Store(tmp_path).read()
    assert not values(frame, "corruption_error")  # of the baseline itself
    mine, theirs = values(frame, "accuracy", OTHER), values(frame, "accuracy")
    found, means = values(frame, "corruption_error", OTHER), []
    for name in SOME:
        errors = [sum(1 - side[name, level] for level in range(1, 6)) for side in (mine, theirs)]
        (ratio,) = (value for (condition, _), value in found.items() if condition == name)
        assert ratio == pytest.approx(errors[0] / errors[1])
        means.append(ratio)
    (total,) = values(frame, "mean_corruption_error", OTHER).values()
    assert total == pytest.approx(sum(means) / 3)
    rows = frame[frame["metric"].str.contains("corruption_error")]
    assert set(rows["baseline"]) == {MODEL}
    assert rows.loc[rows["status"] != "ok", "reason"].notna().all()


def test_differences_to_the_control_at_each_severity(tmp_path: Path) -> None:
    identity = "unified_identity_nano"
    study(tmp_path, (MODEL, identity), corruptions=("noise", "fog")).run()
    frame = Store(tmp_path).read()
    mine, theirs = values(frame, "accuracy"), values(frame, "accuracy", identity)
    found = values(frame, "accuracy_difference")
    names = ("gaussian_noise", "shot_noise", "impulse_noise")
    for (condition, level), value in found.items():
        of = names if condition == "noise" else (*names, "fog") if "+" in str(condition) else (condition,)
        expected = sum(mine[name, level] - theirs[name, level] for name in of) / len(of)
        assert value == pytest.approx(expected)
    assert len(found) == 1 + 5 * (4 + 1 + 1)  # clean; corruptions, the family, all
    rows = frame[frame["metric"] == "accuracy_difference"]
    assert set(rows["baseline"]) == {identity}
    assert ((rows["ci_low"] <= rows["value"]) & (rows["value"] <= rows["ci_high"])).all()
    assert not values(frame, "corruption_error")  # nobody asked for errors relative to a baseline


def test_a_baseline_of_the_store_need_not_be_in_the_run(tmp_path: Path) -> None:
    lacking = study(tmp_path, (OTHER,), baseline=MODEL).run()
    assert any("the store has no answers" in note for note in lacking.notes)
    study(tmp_path, (MODEL,), num_images=6).run()  # other images
    assert any("the store has no answers" in note for note in study(tmp_path, (OTHER,), baseline=MODEL).run().notes)
    study(tmp_path, (MODEL,)).run()
    report = study(tmp_path, (OTHER,), baseline=MODEL).run()
    assert (report.measured, report.notes) == (0, lacking.notes[:-1])
    alone = values(Store(tmp_path).read(), "corruption_error", OTHER)
    study(tmp_path / "together", (MODEL, OTHER), baseline=MODEL).run()
    together = values(Store(tmp_path / "together").read(), "corruption_error", OTHER)
    assert list(alone.values()) == list(together.values())


def test_running_again_resumes_and_other_corruptions_are_added(tmp_path: Path) -> None:
    study(tmp_path).run()
    before = values(Store(tmp_path).read(), "accuracy")
    again = study(tmp_path).run()
    assert (again.measured, again.kept) == (0, 4)
    assert study(tmp_path, batch_size=7).run().measured == 0
    more = study(tmp_path, (MODEL, OTHER), corruptions=(*SOME, "pixelate"), baseline=MODEL).run()
    assert (more.measured, more.kept) == (1 + 5, 4)
    after = values(Store(tmp_path).read(), "accuracy")
    assert {key: after[key] for key in before} == before
    assert study(tmp_path, seed=1).run().measured == 4


def test_batch_size_changes_nothing(tmp_path: Path) -> None:
    for folder, size in (("a", 8), ("b", 5)):
        study(tmp_path / folder, corruptions=("impulse_noise", "fog"), batch_size=size).run()
    frames = [Store(tmp_path / folder).read() for folder in ("a", "b")]
    assert values(frames[0], "accuracy") == values(frames[1], "accuracy")


def test_the_published_second_compression_has_a_definition_of_its_own(tmp_path: Path) -> None:
    study(tmp_path, corruptions=("contrast",)).run()
    assert study(tmp_path, corruptions=("contrast",), as_jpeg=True).run().measured == 2
    frame = Store(tmp_path).read()
    assert set(frame["definition"]) == {"corruption.stmbench.v1", "corruption.stmbench.jpeg85.v1"}


def test_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="label"):
        study(tmp_path, dataset=str(tree(tmp_path / "bare", {"": 3})), num_images=3)
