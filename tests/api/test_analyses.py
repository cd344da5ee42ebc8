"""Functions of analyses: models and images as a notebook has them, and what the result says."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, TensorDataset

import stmbench as sb
from stmbench.analyses import base
from stmbench.errors import InputError, UnknownNameError
from tests.api.networks import PIXELS, answers, given_small

LABELS = [*answers()[:4], *((label + 1) % 10 for label in answers()[4:])]  # four of six are right
QUIET: dict[str, Any] = {"progress": False}


def _bytes(image: torch.Tensor) -> np.ndarray[Any, Any]:
    """(H, W, 3) of 8 bits."""
    return (np.moveaxis(image.numpy(), 0, 2) * 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def accuracy() -> Any:
    return sb.eval(given_small(), images=PIXELS, labels=LABELS, **QUIET)


@pytest.fixture(scope="module")
def pair() -> Any:
    """Two models: of one alone there is no figure."""
    models = [given_small(), dataclasses.replace(given_small(), name="Second")]
    return sb.eval(models, images=PIXELS, labels=LABELS, **QUIET)


def test_the_table_holds_the_networks_own_accuracy(accuracy: Any) -> None:
    rows = accuracy.table[(accuracy.table["metric"] == "accuracy") & (accuracy.table["kind"] == "summary")]
    assert rows["value"].item() == pytest.approx(4 / 6)
    assert set(accuracy.table["weights"].str.partition(":")[0]) == {"given"}
    assert (accuracy.measured, accuracy.reused, accuracy.failures) == (1, 0, ())


def test_the_summary_is_in_the_units_of_readers(accuracy: Any) -> None:
    summary = accuracy.summary()
    assert summary["accuracy, %"].item() == pytest.approx(400 / 6)


def test_shown_in_a_notebook(accuracy: Any, pair: Any) -> None:
    page = pair._repr_html_()
    assert "<table" in page
    assert page.count('<td style="text-align: right">66.7</td>') == 2
    assert page.count('<td style="text-align: left">') == 2, "the names of the models"
    assert re.search(r'<div style="[^"]*background: white">\s*(<!.*?>\s*)*<svg', page, re.DOTALL)
    assert "<svg" not in accuracy._repr_html_()
    assert "5 rows of 1 model," in repr(accuracy)


def test_many_quantities_are_rows_in_a_notebook() -> None:
    result = sb.profile("unified_identity_nano", timing=False, resolution=32, **QUIET)
    page = result._repr_html_()
    (label,) = result.summary().index
    assert len(result.summary().columns) > 8
    assert re.findall(r"<th .*?>(.*?)</th>", page) == ["quantity", label]
    assert "e+0" not in page
    macs = result.summary()["MACs per image, MMACs"].item()
    assert 0.1 < macs < 100
    assert f'MACs per image, MMACs</td><td style="text-align: right">{macs:.2f}</td>' in page


def test_figures_by_name(pair: Any) -> None:
    figures = pair.plot()
    name = next(iter(figures))
    assert pair.plot(name) is figures[name]
    with pytest.raises(UnknownNameError, match=f"did you mean {name}"):
        pair.plot(f"{name}s")


def test_a_report(accuracy: Any, tmp_path: Path) -> None:
    page = accuracy.report(tmp_path / "out.html")
    assert page == tmp_path / "out.html"
    assert "accuracy 66.7 %" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    "images",
    [
        lambda: [Image.fromarray(_bytes(image)) for image in PIXELS],
        lambda: DataLoader(TensorDataset(PIXELS), batch_size=4),
    ],
    ids=["pictures", "loader"],
)
def test_images_of_every_kind_give_the_same(images: Any) -> None:
    result = sb.eval(given_small(), images=images(), labels=LABELS, **QUIET)
    rows = result.table[(result.table["metric"] == "accuracy") & (result.table["kind"] == "summary")]
    assert rows["value"].item() == pytest.approx(4 / 6)


def test_a_loader_brings_its_labels() -> None:
    loader = DataLoader(TensorDataset(PIXELS, torch.tensor(LABELS)), batch_size=4)
    result = sb.eval(given_small(), images=loader, **QUIET)
    rows = result.table[(result.table["metric"] == "accuracy") & (result.table["kind"] == "summary")]
    assert rows["value"].item() == pytest.approx(4 / 6)


def test_a_folder(tmp_path: Path) -> None:
    for number, (image, label) in enumerate(zip(PIXELS, LABELS, strict=True)):
        for klass in range(10):  # class folders from 0 to 9
            (tmp_path / "test" / str(klass)).mkdir(parents=True, exist_ok=True)
        Image.fromarray(_bytes(image)).save(tmp_path / "test" / str(label) / f"{number}.png")
    for klass in set(range(10)) - set(LABELS):
        (tmp_path / "test" / str(klass)).rmdir()
    result = sb.eval(given_small(), images=tmp_path, classes="numbers", **QUIET)
    rows = result.table[(result.table["metric"] == "accuracy") & (result.table["kind"] == "summary")]
    assert rows["value"].item() == pytest.approx(4 / 6)


def test_modules_of_timm_and_torchvision() -> None:
    import timm
    import torchvision

    models = [timm.create_model("test_vit"), torchvision.models.squeezenet1_1(num_classes=7)]
    result = sb.profile(models, timing=False, resolution=64, **QUIET)
    params = result.table[(result.table["metric"] == "params") & (result.table["kind"] == "summary")]
    own = [sum(parameter.numel() for parameter in model.parameters()) for model in models]
    assert sorted(params["value"]) == sorted(own)


def test_a_store_is_resumed_after_an_interrupt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    models, asked = ["unified_identity_nano", "unified_dw_conv_nano"], {"timing": False, "resolution": 32, **QUIET}
    measure, done = base.Analysis._do, []

    def interrupted(self: Any, unit: Any, report: Any) -> None:
        if done:
            raise KeyboardInterrupt
        done.append(unit)
        measure(self, unit, report)

    with monkeypatch.context() as patch:
        patch.setattr(base.Analysis, "_do", interrupted)
        with pytest.raises(KeyboardInterrupt):
            sb.profile(models, out=tmp_path, **asked)
    again = sb.profile(models, out=tmp_path, **asked)
    assert again.reused == 1
    assert again.table["model"].nunique() == 2
    assert sb.profile(models, out=tmp_path, **asked).measured == 0


def test_a_temporary_store_is_removed_when_python_ends() -> None:
    code = (
        "import stmbench as sb\n"
        "r = sb.profile('unified_identity_nano', timing=False, resolution=32, progress=False)\n"
        "assert r.store.is_dir()\nprint(r.store)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    folder = Path(done.stdout.splitlines()[-1])
    assert folder.name.startswith("stmbench-")
    assert not folder.exists()


def test_a_mixer_of_a_plugin(tmp_path: Path) -> None:
    example = Path(__file__).parents[2] / "examples" / "my_mixer.py"
    result = sb.profile(
        scale="nano", mixers=["strip_modulation"], plugins=[example], timing=False, resolution=32, **QUIET
    )
    assert set(result.table["mixer"].dropna()) == {"strip_modulation"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"num_imges": 3}, "an option of eval(), got 'num_imges'; did you mean num_images"),
        ({"num_images": 0}, "change `num_images`"),
        ({"dtype": "fp23"}, "a value for `dtype`, got 'fp23'"),
        ({"resolution": "0"}, "change `resolution`"),
        ({"device": "gpu"}, "a device, got 'gpu'"),
        ({"images": "photoes"}, "photos"),
        ({"images": "photos", "labels": [1]}, "a CSV file as labels of a folder"),
    ],
)
def test_errors_name_options_as_python_does(options: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError) as caught:
        sb.eval("unified_identity_nano", **options, **QUIET)
    assert said in str(caught.value)
    assert "--" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nothing_that_can_be_measured_is_an_error() -> None:
    class Broken(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc = torch.nn.Linear(1, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no such thing")

    with pytest.raises(InputError, match="no such thing"):
        sb.eval(sb.GivenModel(module=Broken(), input_size=32, num_classes=10), images=PIXELS, labels=LABELS, **QUIET)
