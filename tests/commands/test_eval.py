"""`stmbench eval` from the command line to what it leaves behind, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.tables import COLUMNS, read
from tests.commands import run
from tests.data.builders import BROKEN, tree

FEW = ("--scale", "nano", "--num-images", "20")
DW = "unified_dw_conv_nano"


def test_five_mixers_on_digits_shown_drawn_and_kept(tmp_path: Path) -> None:
    result = run.stmbench("eval", *FEW, "--out", str(tmp_path))
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["model", "top-1", "%", "top-5", "%", "ECE", "%", "NLL", "Brier"]
    for name in ("Halo-Attn", "SR-Attn", "SW-Attn", "DW-Conv", "DCNv3"):
        assert any(line.startswith(f"{name} ") for line in lines)
    assert sum("random init" in line for line in lines) == 5
    assert max(map(len, lines)) <= 80
    assert "untrained, weights are random init: unified_halo_attn_nano" in result.stderr
    assert "5 units of work measured" in result.stderr
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"accuracy.svg", "accuracy.png"}
    again = run.stmbench("eval", *FEW, "--models", "timm:resnet18", "--out", str(tmp_path))
    assert again.exit_code == 2  # by name or by scale
    again = run.stmbench("eval", *FEW, "--out", str(tmp_path))
    assert "0 units of work measured, 5 taken from the store" in again.stderr
    assert len(read(tmp_path)) == 25


def test_a_checkpoint_its_predictions_and_json(tmp_path: Path) -> None:
    torch.save(create_model(DW, num_classes=10).state_dict(), tmp_path / "mine.pth")
    models = ("--models", f"{DW},timm:resnet18", "--resolution", "32", "--num-images", "10")
    checkpoint = ("--checkpoint", f"{DW}={tmp_path / 'mine.pth'}")
    out = tmp_path / "out"
    result = run.stmbench("eval", *models, *checkpoint, "--keep-predictions", "--json", "--out", str(out))
    assert result.exit_code == 0, result.output
    rows = json.loads(result.stdout)
    assert all(tuple(row) == COLUMNS for row in rows)
    assert {row["model"]: row["weights"].partition(":")[0] for row in rows} == {
        DW: "mine.pth",
        "timm:resnet18": "random",
    }
    kept = [row for row in rows if row["artifact"]]
    assert len(kept) == 2
    assert all(len(pd.read_parquet(out / row["artifact"])) == 10 for row in kept)
    assert "untrained, weights are random init: timm:resnet18;" in result.stderr


def test_a_folder_of_images_with_a_corrupt_one(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 4, "dog": 4})
    (root / "cat" / "001.png").write_bytes(BROKEN)
    arguments = ("--models", DW, "--dataset", str(root), "--out", str(tmp_path / "out"))
    result = run.stmbench("eval", *arguments)
    assert result.exit_code == 0, result.output
    assert "pets · all · 32 px · fp32 · cpu · 7 images" in result.stdout
    assert "skipped 1 corrupt image of pets: cat/001.png: " in result.stderr
    strict = run.stmbench("eval", *arguments, "--limit-corrupt", "0", "--fresh")
    assert strict.exit_code == 2
    assert "failed: predictions of unified_dw_conv_nano: more than 0 corrupt images" in strict.stderr


def test_a_model_with_nan_logits_fails_and_the_other_is_shown(tmp_path: Path) -> None:
    state = create_model(DW, num_classes=10).state_dict()
    state[list(state)[-1]].fill_(torch.nan)
    torch.save(state, tmp_path / "broken.pth")
    models = ("--models", f"{DW},unified_sr_attn_nano", "--num-images", "10")
    checkpoint = ("--checkpoint", f"{DW}={tmp_path / 'broken.pth'}")
    result = run.stmbench("eval", *models, *checkpoint, "--out", str(tmp_path / "out"))
    assert result.exit_code == 1
    assert f"failed: predictions of {DW}: NaN logits for 10 of the 10 images in a batch" in result.stderr
    assert "SR-Attn" in result.stdout
    assert "1 failed" in result.stderr


REFUSED = [
    (["--dataset", "photos"], "expected images with labels, got photos, which has none", "digits"),
    (["--dataset", "digit"], "expected a data set or a path to one, got 'digit'", "did you mean digits"),
    (["--dataset", "./nowhere"], "expected a data set's name or path, got './nowhere'", "correct the path"),
    (["--dataset", "empty"], "expected a folder with images, got 'empty', which is empty", "a folder for each class"),
    (["--dataset", "flat"], "expected images with labels, got flat, which has none", "a folder for each class"),
    (
        ["--dataset", "flat/a.png"],
        "expected a folder, a .tar or .parquet file, or a list of images (.txt), got a.png",
        "--dataset",
    ),
    (["--dataset", "shapes[side=3]"], "expected an option of shapes, got 'side'", "size"),
    (["--split", "dev"], "expected the split 'train' or 'test' of digits, got 'dev'", "--split"),
    (["--num-images", "356"], "expected at least 356 images in digits, got 355", "--num-images"),
    (["--num-images", "0"], "expected --num-images to be greater than or equal to 1, got '0'", "--num-images"),
    (["--resolution", "0"], "expected a resolution of at least 1, got '0'", "--resolution"),
    (["--resolution", "32,64"], "expected one resolution, got '32,64'", "once for each"),
    (["--dtype", "fp8"], "expected a value for --dtype, got 'fp8'", "did you mean"),
    (["--dtype", "fp32,bf16"], "expected one dtype, got 'fp32,bf16'", "once for each"),
    (["--batch-size", "0"], "expected --batch-size to be greater than or equal to 1, got '0'", "--help"),
    (["--checkpoint", "gone.pth"], "expected ", "gone.pth"),
    (["--checkpoint", "unified_dw_conv_micro=a.pth"], "expected a checkpoint of a model of this run", "MODEL=FILE"),
    (["--checkpoint", "flat/a.png"], "expected ", "a.png"),
    (["--limit-corrupt", "-1"], "expected --limit-corrupt to be greater than or equal to 0, got '-1'", "--help"),
    (["--keep-prediction"], "expected an option of `stmbench eval`, got '--keep-prediction'", "--keep-predictions"),
]


@pytest.mark.parametrize(("args", "line", "piece"), REFUSED, ids=[" ".join(case[0]) for case in REFUSED])
def test_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: list[str], line: str, piece: str) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    tree(Path("flat"), {".": 1})
    Path("flat/000.png").rename("flat/a.png")
    refusal = run.refusal("eval", "--models", DW, "--out", "store", *args)
    assert refusal.startswith(line)
    assert piece in refusal
    assert not Path("store").exists()


def test_classes_and_labels_from_files(tmp_path: Path) -> None:
    root = tree(tmp_path / "flat", {"x": 3})
    (tmp_path / "truth.csv").write_text("000.png,owl\n001.png,hen\n002.png,owl\n")
    (tmp_path / "map.csv").write_text("name,index\nhen,4\nowl,7\n")
    labelled = ("--models", DW, "--dataset", str(root / "x"), "--labels", str(tmp_path / "truth.csv"))
    result = run.stmbench("eval", *labelled, "--classes", str(tmp_path / "map.csv"), "--out", str(tmp_path / "out"))
    assert result.exit_code == 0, result.output
    assert "x[classes=map.csv]: judged on 2 classes, the logits of the model's others are left out" in result.stderr
    assert set(read(tmp_path / "out")["dataset"].str.partition(":")[0]) == {"x[classes=map.csv]"}
    assert "did you mean imagenet-a" in run.refusal("eval", *labelled, "--classes", "imagenet-aa")
    assert "got no file at no.csv" in run.refusal("eval", "--models", DW, "--dataset", str(root), "--labels", "no.csv")


def test_fewer_images_than_a_command_takes_by_itself(tmp_path: Path) -> None:
    root = tree(tmp_path / "pets", {"cat": 3, "dog": 2})
    arguments = ("erf", "--models", DW, "--dataset", str(root), "--resolution", "32", "--out", str(tmp_path / "out"))
    result = run.stmbench(*arguments)
    assert result.exit_code == 0, result.output
    assert "all 5 images of pets, which has no 28" in result.stderr
    assert set(read(tmp_path / "out")["num_images"].dropna()) == {5}
    asked = run.refusal(*arguments, "--num-images", "6")
    assert asked == "expected at least 6 images in pets, got 5; lower --num-images to 5, or leave it out"


def test_images_of_28_pixels(tmp_path: Path) -> None:
    few = ("--num-images", "10", "--resolution", "28", "--out", str(tmp_path))
    result = run.stmbench("eval", "--models", f"{DW},container_identity_nano", *few)
    assert "digits · test · 28 px" in result.stdout
    assert "use --resolution 32 or more, the network's limit" in result.stderr
    frame = read(tmp_path)
    assert set(frame.loc[frame["status"] != "failed", "model"]) == {DW}
