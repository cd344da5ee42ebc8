"""The authors' container_v1_light under deterministic weights: our logits equal theirs to 1e-11 of their norm."""

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

DOCUMENT = json.loads((GOLDEN / "container_v1_light.json").read_text())


def test_logits_equal_the_authors() -> None:
    expected = DOCUMENT["expected"]
    model = create_model("container_v1_light").double().eval()
    assert sum(p.numel() for p in model.parameters()) == expected["params"] == 20_633_643
    load_checkpoint(model, {"model": filled(DOCUMENT["shapes"])})
    given = expected["input"]
    batch = torch.from_numpy(image(given["batch"], given["size"], given["seed"]))
    with torch.inference_mode():
        logits = model(batch)
    norms = torch.tensor(expected["logits_norm"], dtype=torch.float64)
    assert torch.all((logits.norm(dim=1) - norms).abs() < EXACT * norms)
    head = torch.tensor(expected["logits_head"], dtype=torch.float64)
    assert torch.all((logits[:, : head.shape[1]] - head).abs().amax(dim=1) < EXACT * norms)
    assert logits.argmax(dim=1).tolist() == expected["argmax"]


def test_a_missing_tensor_is_named_and_the_model_left_alone() -> None:
    model = create_model("container_v1_light")
    before = model.stem.conv1.weight.clone()
    state = filled(DOCUMENT["shapes"])
    del state["blocks4.1.sa_weight"]
    with pytest.raises(CheckpointError, match=r"1 missing \(stages\.3\.blocks\.1\.mixer\.shares\.weight\)"):
        load_checkpoint(model, state)
    assert torch.equal(model.stem.conv1.weight, before)
