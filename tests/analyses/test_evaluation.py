"""`eval`: scores against known answers, and runs on small sets from images to rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.metrics import log_loss, top_k_accuracy_score
from torch import Tensor

from stmbench.analyses.eval.evaluation import Evaluation, Predictions, judge, scores
from stmbench.analyses.images import ImageRequest
from stmbench.architectures.catalog import create_model
from stmbench.errors import CheckpointError, InputError
from stmbench.tables import Store
from tests.data.builders import BROKEN, imagenet, tree

MODEL, OTHER = "unified_dw_conv_nano", "unified_sr_attn_nano"


def predictions(logits: Tensor, labels: Tensor) -> Predictions:
    found = {name: value.numpy() for name, value in judge(logits, labels).items()}
    return Predictions(indices=np.arange(len(labels)), **found)


def evaluation(folder: Path, models: tuple[str, ...] = (MODEL,), *, keep: bool = False, **changes: Any) -> Evaluation:
    fields = {"models": models, "dataset": "digits", "num_images": 40, "batch_size": 16, **changes}
    return Evaluation(ImageRequest(**fields), Store(folder), keep_predictions=keep)


def values(folder: Path) -> dict[tuple[str, str], float]:
    frame = Store(folder).read()
    return {(row["model"], row["metric"]): row["value"] for row in frame.to_dict("records")}


def test_three_images_by_hand() -> None:
    odds = torch.tensor([[6.0, 3.0, 1.0], [1.0, 2.0, 7.0], [2.0, 5.0, 3.0]])
    found = predictions(odds.log(), torch.tensor([0, 1, 2]))
    assert found.predicted.tolist() == [0, 2, 1]
    assert found.rank.tolist() == [0, 1, 1]
    assert found.correct.tolist() == [True, False, False]
    assert found.confidence == pytest.approx([0.6, 0.7, 0.5])
    assert found.nll == pytest.approx([-math.log(0.6), -math.log(0.2), -math.log(0.3)])
    assert found.brier == pytest.approx([0.16 + 0.09 + 0.01, 0.01 + 0.64 + 0.49, 0.04 + 0.25 + 0.49])


def test_as_scikit_learn_scores_the_same_logits() -> None:
    random = torch.Generator().manual_seed(0)
    logits, labels = torch.randn(300, 9, generator=random), torch.randint(9, (300,), generator=random)
    found = scores(predictions(logits, labels), 9, seed=0)
    probabilities = logits.softmax(1).numpy()
    for metric, k in (("accuracy", 1), ("accuracy_top5", 5)):
        expected = top_k_accuracy_score(labels, probabilities, k=k, labels=range(9))
        assert found[metric].estimate == pytest.approx(expected)
    assert found["nll"].estimate == pytest.approx(log_loss(labels, probabilities, labels=range(9)), rel=1e-5)
    one_hot = torch.nn.functional.one_hot(labels, 9).numpy()
    assert found["brier"].estimate == pytest.approx(np.square(probabilities - one_hot).sum(1).mean(), rel=1e-5)
    assert all(one.low <= one.estimate <= one.high for one in found.values())
    assert {one.count for one in found.values()} == {300}


def test_of_equal_logits_the_lower_class_goes_first() -> None:
    found = predictions(torch.zeros(3, 8), torch.tensor([0, 4, 5]))
    assert found.rank.tolist() == [0, 4, 5]
    assert found.predicted.tolist() == [0, 0, 0]


def test_half_precision_is_judged_as_the_numbers_that_it_holds() -> None:
    logits = torch.tensor([[9.0, 9.01, -4.0]]).to(torch.bfloat16)
    found = predictions(logits, torch.tensor([1]))
    assert found.rank.tolist() == [1]  # 9.01 is 9 in bfloat16
    assert found.nll.dtype == np.float64


def test_top_5_of_five_classes_is_no_score() -> None:
    found = scores(predictions(torch.randn(20, 5), torch.zeros(20, dtype=torch.long)), 5, seed=0)
    assert "accuracy_top5" not in found


def test_all_right_of_few_images_leaves_room_for_mistakes() -> None:
    found = scores(predictions(20 * torch.eye(10), torch.arange(10)), 10, seed=0)
    for metric in ("accuracy", "accuracy_top5"):
        assert (found[metric].estimate, found[metric].high) == (1, 1)
        assert found[metric].low == pytest.approx(10 / (10 + 1.959964**2))  # Wilson 1927


def test_rows_of_two_models(tmp_path: Path) -> None:
    report = evaluation(tmp_path, (MODEL, OTHER)).run()
    frame = Store(tmp_path).read()
    assert report.measured == 2
    assert set(frame["metric"]) == {"accuracy", "accuracy_top5", "nll", "brier", "calibration_error"}
    assert set(frame["analysis"]) == {"eval"}
    assert set(frame["definition"]) == {"eval.v1"}
    assert set(frame["unit"]) == {"1"}
    assert set(frame["weights"]) == {"random:0"}
    assert (frame["num_images"] == 40).all()
    assert (frame["num_samples"] == 40).all()
    assert frame["dataset"].str.startswith("digits:").all()
    assert ((frame["value"] >= frame["ci_low"]) & (frame["value"] <= frame["ci_high"])).all()


def test_running_again_measures_nothing_and_another_seed_does(tmp_path: Path) -> None:
    first = evaluation(tmp_path).run()
    before = values(tmp_path)
    again = evaluation(tmp_path).run()
    assert (again.measured, again.kept, again.keys) == (0, 1, first.keys)
    assert values(tmp_path) == before
    assert evaluation(tmp_path, batch_size=7, workers=2).run().kept == 1  # these change no result
    assert evaluation(tmp_path, seed=1).run().measured == 1
    assert evaluation(tmp_path, num_images=30).run().measured == 1


def test_batch_size_and_workers_change_nothing(tmp_path: Path) -> None:
    evaluation(tmp_path / "a").run()
    evaluation(tmp_path / "b", batch_size=7, workers=2).run()
    one, other = values(tmp_path / "a"), values(tmp_path / "b")
    assert one.keys() == other.keys()
    assert [one[key] for key in one] == pytest.approx([other[key] for key in one], rel=1e-5)


def test_kept_predictions_are_those_that_the_scores_stand_on(tmp_path: Path) -> None:
    evaluation(tmp_path).run()
    assert evaluation(tmp_path, keep=True).run().measured == 1  # a part without them does not do
    assert evaluation(tmp_path, keep=True).run().measured == 0
    frame = Store(tmp_path).read()
    (place,) = frame["artifact"].dropna()
    kept = pd.read_parquet(tmp_path / place)
    found = values(tmp_path)
    assert len(kept) == 40 == found[MODEL, "predictions"]
    assert list(kept.columns) == ["image", "index", "label", "predicted", "confidence", "rank", "nll", "brier"]
    assert (kept["rank"] == 0).mean() == found[MODEL, "accuracy"]
    assert ((kept["rank"] == 0) == (kept["predicted"] == kept["label"])).all()
    assert kept["nll"].mean() == pytest.approx(found[MODEL, "nll"])
    assert kept["index"].is_unique
    assert kept["image"].iloc[0] == f"image {kept['index'].iloc[0]} of digits"


@pytest.mark.parametrize(("value", "word"), [(math.nan, "NaN"), (math.inf, "infinite")])
def test_a_model_whose_logits_are_no_numbers_fails_alone(tmp_path: Path, value: float, word: str) -> None:
    state = create_model(MODEL, num_classes=10).state_dict()
    state[list(state)[-1]].fill_(value)  # the bias of the last layer
    torch.save(state, tmp_path / "broken.pth")
    report = evaluation(tmp_path / "out", (MODEL, OTHER), checkpoints={MODEL: tmp_path / "broken.pth"}).run()
    assert report.failures == [f"predictions of {MODEL}: {word} logits for 16 of the 16 images in a batch"]
    frame = Store(tmp_path / "out").read().set_index("model")
    failed = frame.loc[MODEL]
    assert (failed["status"], failed["metric"]) == ("failed", "accuracy")
    assert failed["reason"] == f"{word} logits for 16 of the 16 images in a batch"
    assert pd.isna(failed["value"])
    assert failed["weights"].startswith("broken.pth:")
    assert (frame.loc[OTHER, "status"] == "ok").all()


def test_weights_come_from_the_checkpoint_with_its_number_of_classes(tmp_path: Path) -> None:
    torch.manual_seed(7)
    model = create_model(MODEL, num_classes=10).eval()
    torch.save({"model": model.state_dict()}, tmp_path / "trained.pth")
    evaluation(tmp_path / "out", checkpoints={MODEL: tmp_path / "trained.pth"}).run()
    frame = Store(tmp_path / "out").read()
    assert frame["weights"].str.startswith("trained.pth:").all()
    (key,) = Store(tmp_path / "out").keys()
    assert Store(tmp_path / "out").metadata(key)["num_classes"] == 10


def test_weights_of_another_model_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    torch.save(create_model(OTHER).state_dict(), tmp_path / "other.pth")
    with pytest.raises(CheckpointError):
        evaluation(tmp_path / "out", checkpoints={MODEL: tmp_path / "other.pth"}).run()
    assert not (tmp_path / "out").exists()


def test_corrupt_images_are_left_out_counted_and_named(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 4, "dog": 4})
    (root / "dog" / "005.png").write_bytes(BROKEN)
    report = evaluation(tmp_path / "out", dataset=str(root), num_images=None).run()
    frame = Store(tmp_path / "out").read()
    assert (frame["num_images"] == 7).all()
    (warning,) = report.warnings
    assert warning.startswith("skipped 1 corrupt image of pets: dog/005.png: ")
    strict = evaluation(tmp_path / "out", dataset=str(root), num_images=None, limit_corrupt=0).run(fresh=True)
    assert "more than 0 corrupt images, the limit (--limit-corrupt): dog/005.png" in strict.failures[0]


def test_a_corrupt_image_is_replaced_where_the_set_has_more_and_that_is_said(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 4, "dog": 4})
    for name in ("cat", "dog"):
        for path in sorted((root / name).iterdir())[:2]:
            path.write_bytes(BROKEN)
    report = evaluation(tmp_path / "out", dataset=str(root), num_images=4).run()
    frame = Store(tmp_path / "out").read()
    assert (frame["num_images"] == 4).all(), "four are whole"
    (warning,) = report.warnings
    metadata = Store(tmp_path / "out").metadata(report.keys[0])
    count = len(metadata["corrupt"])
    assert 0 < len(metadata["replaced"]) <= count
    assert warning.startswith(f"skipped {count} corrupt image")
    assert "replaced by" in warning.partition(":")[0]
    whole = evaluation(tmp_path / "out", dataset=str(root), num_images=5).run()
    assert (Store(tmp_path / "out").read(whole.keys)["num_images"] == 4).all(), "no fifth is left"


def test_labels_beyond_the_model_fail_the_unit_with_the_remedy(tmp_path: Path) -> None:
    root = imagenet(tmp_path / "imagenet", [3, 1200])
    report = evaluation(tmp_path / "out", dataset=str(root), num_images=None).run()
    assert "expected labels from 0 to 999, the model's, got label 1200 in imagenet" in report.failures[0]


def test_a_set_without_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="expected images with labels, got photos, which has none"):
        evaluation(tmp_path, dataset="photos")


def test_timms_models_and_half_precision(tmp_path: Path) -> None:
    evaluation(tmp_path, ("timm:resnet18", MODEL), resolution=(32, 32), num_images=8).run()
    report = evaluation(tmp_path, (MODEL,), dtype="bf16", num_images=8).run()
    assert report.failures == []
    frame = Store(tmp_path).read()
    assert set(frame["dtype"]) == {"fp32", "bf16"}
    assert (frame["resolution"] == "32").all()
    assert frame.loc[frame["model"] == "timm:resnet18", "architecture"].eq("timm").all()
