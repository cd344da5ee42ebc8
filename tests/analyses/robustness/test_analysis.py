"""The analysis from a request to rows: what is measured, kept, compared, doubted, and what fails alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from stmbench.analyses.base import Progress
from stmbench.analyses.eval.evaluation import Evaluation
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.robustness.analysis import Robustness
from stmbench.analyses.robustness.attacks import RobustnessConfig, torchattacks_version
from stmbench.analyses.robustness.outcomes import Outcomes
from stmbench.analyses.unit import Report
from stmbench.architectures.catalog import create_model
from stmbench.errors import ConfigError, InputError, UnknownNameError
from stmbench.measure.effects import mcnemar
from stmbench.tables import Store

MODELS = ("unified_dw_conv_nano", "unified_sr_attn_nano")
PAPER = (0.5 / 255, 2 / 255, 8 / 255)


def _request(**changes: Any) -> ImageRequest:
    return ImageRequest(**{"models": MODELS, "dataset": "digits", "num_images": 30, "batch_size": 16, **changes})


def _run(
    folder: Path, *, fresh: bool = False, attacks: tuple[str, ...] = ("fgsm",), steps: int = 2, **changes: Any
) -> tuple[Report, pd.DataFrame]:
    store = Store(folder)
    report = Robustness(RobustnessConfig(attacks=attacks, steps=steps), _request(**changes), store).run(fresh=fresh)
    return report, store.read(report.keys)


def _outcomes(folder: Path, frame: pd.DataFrame, model: str) -> Outcomes:
    (path,) = set(frame.loc[(frame["model"] == model) & frame["artifact"].notna(), "artifact"])
    return Outcomes.read(folder / path)


def test_each_model_has_a_row_at_every_eps_and_the_samples_behind_it(tmp_path: Path) -> None:
    report, frame = _run(tmp_path)
    assert (report.measured, report.failures) == (2, [])
    summary = frame[(frame["kind"] == "summary") & (frame["metric"] == "accuracy")]
    for model in MODELS:
        rows = summary[summary["model"] == model].set_index("level")
        assert sorted(rows.index) == [0.0, *PAPER]
        found = _outcomes(tmp_path, frame, model)
        for eps, hits in found.levels():
            assert rows.loc[eps, "value"] == hits.mean()
            assert rows.loc[eps, "ci_low"] <= hits.mean() <= rows.loc[eps, "ci_high"]
    assert set(summary["num_images"]) == {30}
    assert set(frame["weights"]) == {"random:0"}
    assert set(frame["definition"]) == {"stmbench.fgsm.v1"}
    assert set(summary["dataset"].str.partition(":")[0]) == {"digits"}


def test_the_clean_accuracy_is_that_of_an_evaluation_to_the_last_image(tmp_path: Path) -> None:
    _, frame = _run(tmp_path / "robustness")
    store = Store(tmp_path / "eval")
    report = Evaluation(_request(), store).run()
    truth = store.read(report.keys).query("metric == 'accuracy'").set_index("model")["value"]
    clean = frame[(frame["metric"] == "accuracy") & (frame["level"] == 0)]
    assert len(clean) == 4  # raw and summary
    assert all(row["value"] == truth[row["model"]] for _, row in clean.iterrows())


def test_every_check_of_the_panel_is_in_the_rows(tmp_path: Path) -> None:
    pytest.importorskip("torchattacks")
    _, frame = _run(tmp_path, attacks=("fgsm", "pgd", "apgd"), models=MODELS[:1])
    panel = frame[frame["metric"] == "validity"]
    of_attack = {name: set(rows["condition"]) for name, rows in panel.groupby("definition")}
    shared = {"eps0_is_clean", "pixels_in_range", "within_eps", "falls_with_eps"}
    assert of_attack["stmbench.fgsm.v1"] == shared | {"gradient_not_zero"}
    for name in ("pgd2", "apgd2"):
        assert of_attack[f"torchattacks.{name}.v{torchattacks_version()}"] == shared | {"fgsm_not_below"}
    sound = panel[panel["condition"].isin(["eps0_is_clean", "pixels_in_range", "within_eps", "gradient_not_zero"])]
    assert (sound["value"] == 1).all()
    assert (sound["status"] == "ok").all()


def test_rows_that_break_a_check_are_suspect_and_the_run_says_so(tmp_path: Path) -> None:
    report, frame = _run(tmp_path, attacks=("fgsm", "fgsm_normalised"), models=MODELS[:1])
    accuracy = frame[(frame["metric"] == "accuracy") & (frame["kind"] == "summary")]
    ours = accuracy["definition"] == "stmbench.fgsm.v1"
    assert (accuracy[ours]["status"] == "ok").all()
    mistaken = accuracy[accuracy["definition"] == "mistaken.fgsm_normalised.v1"]
    assert len(mistaken) == 4
    attacked = mistaken[mistaken["level"] > 0]
    assert (attacked["status"] == "suspect").all()
    assert attacked["reason"].str.contains("more than eps").all()
    assert any(f"{MODELS[0]} breaks" in line for line in report.warnings)


def test_models_are_compared_on_the_same_images(tmp_path: Path) -> None:
    _, frame = _run(tmp_path)
    pair = frame[frame["baseline"].notna()]
    assert set(zip(pair["model"], pair["baseline"], strict=True)) == {(MODELS[1], MODELS[0])}
    mine, theirs = (dict(_outcomes(tmp_path, frame, model).levels()) for model in reversed(MODELS))
    for eps in (0.0, *PAPER):
        rows = pair[pair["level"] == eps].set_index("metric")
        test = mcnemar(mine[eps], theirs[eps])
        assert rows.loc["mcnemar_p", "value"] == rows.loc["mcnemar_p_holm", "value"] == test.p
        assert rows.loc["mcnemar_p", "num_samples"] == test.discordant
        assert rows.loc["accuracy_difference", "value"] == pytest.approx(mine[eps].mean() - theirs[eps].mean())


def test_photographs_have_no_labels_so_the_own_prediction_is_attacked(tmp_path: Path) -> None:
    _, frame = _run(tmp_path, dataset="photos", num_images=6, resolution=(32, 32))
    assert set(frame["definition"]) == {"stmbench.fgsm.own_prediction.v1"}
    assert "accuracy" not in set(frame["metric"])
    consistency = frame[(frame["metric"] == "consistency") & (frame["kind"] == "summary")]
    clean = consistency[consistency["level"] == 0]
    assert (clean["value"] == 1).all()
    assert clean["ci_low"].isna().all(), "1 by definition"
    assert consistency[consistency["level"] > 0]["ci_high"].notna().all()
    assert 0.0 not in set(frame.loc[frame["baseline"].notna(), "level"])


def test_what_is_there_is_kept_and_fresh_measures_again(tmp_path: Path) -> None:
    assert _run(tmp_path, models=MODELS[:1])[0].measured == 1
    report, frame = _run(tmp_path)
    assert (report.measured, report.kept) == (1, 1)
    assert set(frame["model"]) == set(MODELS)
    assert len(frame[frame["metric"] == "mcnemar_p"]) == 4
    before = frame.loc[frame["kind"] == "raw", "value"].tolist()
    report, frame = _run(tmp_path, fresh=True)
    assert (report.measured, report.kept) == (2, 0)
    assert frame.loc[frame["kind"] == "raw", "value"].tolist() == before


def test_a_key_holds_what_matters_to_its_attack(tmp_path: Path) -> None:
    pytest.importorskip("torchattacks")
    both = {"attacks": ("fgsm", "pgd"), "models": MODELS[:1], "num_images": 4}
    assert _run(tmp_path, **both)[0].measured == 2
    assert _run(tmp_path, **both, steps=3)[0].measured == 1, "steps are nothing to FGSM"
    assert _run(tmp_path, **both, batch_size=2)[0].measured == 1, "the random start is drawn for a batch"
    assert _run(tmp_path, **both, seed=1)[0].measured == 2


def test_a_model_that_gives_nan_fails_with_the_reason_and_the_rest_goes_on(tmp_path: Path) -> None:
    model = create_model(MODELS[0], num_classes=10)
    model.state_dict()["head.fc.weight"].mul_(torch.nan)
    torch.save({"model": model.state_dict()}, tmp_path / "nan.pth")
    report, frame = _run(tmp_path / "store", checkpoints={MODELS[0]: tmp_path / "nan.pth"})
    assert len(report.failures) == 1
    assert "NaN logits" in report.failures[0]
    failed = frame[frame["status"] == "failed"]
    assert failed["model"].tolist() == [MODELS[0]]
    assert failed["reason"].str.contains("NaN logits").all()
    assert failed["metric"].tolist() == ["accuracy"]
    assert failed["definition"].tolist() == ["stmbench.fgsm.v1"]
    other = frame[(frame["model"] == MODELS[1]) & (frame["metric"] == "accuracy")]
    assert len(other) == 8
    assert frame["baseline"].isna().all()
    again, later = _run(tmp_path / "store", checkpoints={MODELS[0]: tmp_path / "nan.pth"})
    assert (again.measured, again.kept) == (0, 1)  # a failure measures nothing
    assert again.failures == report.failures
    tried = later[later["status"] == "failed"]
    assert set(tried["run_id"]).isdisjoint(failed["run_id"]), "what failed is tried again"


def test_labels_beyond_the_model_fail_it_in_words(tmp_path: Path) -> None:
    report, _ = _run(tmp_path, models=("unified_dw_conv_nano[num_classes=5]",))
    assert "expected the model's 5 classes, got 10 in digits" in report.failures[0]


def test_a_missing_torchattacks_stops_what_needs_it_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchattacks", None)
    with pytest.raises(InputError, match=r"stmbench\[attacks\]"):
        _run(tmp_path, attacks=("fgsm", "pgd"))
    assert not list(tmp_path.iterdir())
    assert _run(tmp_path)[0].measured == 2


@pytest.mark.parametrize(
    ("settings", "error", "words"),
    [
        ({"eps": (-0.01,)}, ConfigError, "an eps from 0 to 1"),
        ({"eps": (1.5,)}, ConfigError, "an eps from 0 to 1"),
        ({"eps": ()}, ConfigError, "at least one eps"),
        ({"eps": (float("nan"),)}, ConfigError, "an eps from 0 to 1"),
        ({"attacks": ()}, ConfigError, "at least one"),
        ({"attacks": ("fgsm", "fgsm")}, ConfigError, "each attack once"),
        ({"attacks": ("fgms",)}, UnknownNameError, "did you mean fgsm"),
        ({"steps": 0}, ConfigError, "at least one step"),
    ],
)
def test_nonsense_is_refused(settings: dict[str, Any], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        RobustnessConfig(**settings)


@pytest.mark.parametrize("fresh", [False, True])
def test_progress_says_how_long_it_will_take(tmp_path: Path, fresh: bool) -> None:
    if fresh:
        _run(tmp_path, num_images=8)
    told: list[Progress] = []
    Robustness(RobustnessConfig(), _request(num_images=8), Store(tmp_path), listener=told.append).run(fresh=fresh)
    shares = [(item.text, item.done) for item in told]
    assert shares[0] == (f"FGSM on {MODELS[0]}", 0.0)
    assert shares[-1] == (f"FGSM on {MODELS[1]}", 8.0)
    left = [item.seconds_left for item in told if item.seconds_left is not None]
    assert all(seconds > 0 for seconds in left[:-1])
    assert left[-1] == pytest.approx(0, abs=1e-9)


def test_eps_0_asked_for_has_a_row_beside_the_clean_one_and_is_checked_on_all_images(tmp_path: Path) -> None:
    config = RobustnessConfig(eps=(0.0, 8 / 255))
    store = Store(tmp_path)
    report = Robustness(config, _request(models=MODELS[:1]), store).run()
    frame = store.read(report.keys)
    rows = frame[(frame["metric"] == "accuracy") & (frame["kind"] == "summary")]
    assert rows["level"].tolist() == [0.0, 8 / 255, 0.0]
    assert rows["condition"].fillna("").tolist() == ["", "", "attacked"]
    found = _outcomes(tmp_path, frame, MODELS[0])
    assert rows["value"].iloc[2] == rows["value"].iloc[0] == found.clean_hits.mean()
    assert np.array_equal(found.probe, found.clean)
