"""The authors' CoTNet models under deterministic weights: our logits equal theirs to 1e-11 of their norm."""

from __future__ import annotations

import json

import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from stmbench.errors import CheckpointError
from tests.checkpoints.test_golden import EXACT, filled
from tests.data.golden.fill import image
from tests.data.paths import GOLDEN

NAMES = ("cotnet50", "cotnext50_2x48d", "se_cotnetd_50")


@pytest.mark.parametrize("name", NAMES)
def test_logits_equal_the_authors(name: str) -> None:
    golden = json.loads((GOLDEN / f"{name}.json").read_text())
    expected = golden["expected"]
    model = create_model(name).double().eval()
    load_checkpoint(model, {"model": filled(golden["shapes"])})
    given = expected["input"]
    with torch.inference_mode():
        logits = model(torch.from_numpy(image(given["batch"], given["size"], given["seed"])))
    norms = torch.tensor(expected["logits_norm"], dtype=torch.float64)
    assert torch.all((logits.norm(dim=1) - norms).abs() < EXACT * norms)
    head = torch.tensor(expected["logits_head"], dtype=torch.float64)
    assert torch.all((logits[:, : head.shape[1]] - head).abs().amax(dim=1) < EXACT * norms)
    assert logits.argmax(dim=1).tolist() == expected["argmax"]


def test_another_models_weights_are_refused() -> None:
    shapes = json.loads((GOLDEN / "cotnet50.json").read_text())["shapes"]
    state = {key: torch.zeros(shape) for key, shape in shapes.items()}
    with pytest.raises(CheckpointError, match="missing"):
        load_checkpoint(create_model("se_cotnetd_50"), state)
