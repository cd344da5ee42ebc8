"""The authors' models under deterministic weights: our logits equal theirs to 1e-11 of the logits' norm."""

from __future__ import annotations

import json

import pytest
import torch

from stmbench.architectures.catalog import create_model
from stmbench.checkpoints import load_checkpoint
from tests.data.golden.fill import NOT_FILLED, fill, image
from tests.data.paths import GOLDEN

MIXERS = {"halo": "halo_attn", "pvt": "sr_attn", "swin": "sw_attn", "convnext": "dw_conv", "dcn_v3": "dcnv3"}
CASES = [(authors, mixer, scale) for scale in ("micro", "tiny") for authors, mixer in MIXERS.items()]
# of the logits' norm, in float64: what is left is the order of sums
EXACT = 1e-11
# measured: 5e-9; a rounding of sampling places to float32 has that size, of the others nothing is above 1e-15
LOOSER = {"dcn_v3": 1e-8}


def filled(shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """The authors' state dict with the values of fill.py; their constant buffers are zeros, which must not be used."""
    return {
        key: torch.zeros(shape) if key.endswith(NOT_FILLED) else torch.from_numpy(fill(key, tuple(shape)))
        for key, shape in shapes.items()
    }


@pytest.mark.parametrize(("authors", "mixer", "scale"), CASES)
def test_logits_equal_the_authors(authors: str, mixer: str, scale: str) -> None:
    golden = json.loads((GOLDEN / f"unified_{authors}_{scale}.json").read_text())
    expected = golden["expected"]
    model = create_model(f"unified_{mixer}_{scale}").double().eval()
    load_checkpoint(model, {"model": filled(golden["shapes"])})
    given = expected["input"]
    batch = torch.from_numpy(image(given["batch"], given["size"], given["seed"]))
    with torch.inference_mode():
        features, maps = model.forward_intermediates(batch)
        logits = model.forward_head(features)

    norms = torch.tensor(expected["logits_norm"], dtype=torch.float64)
    limit = LOOSER.get(authors, EXACT)
    assert torch.all((logits.norm(dim=1) - norms).abs() < limit * norms)
    head = torch.tensor(expected["logits_head"], dtype=torch.float64)
    assert torch.all((logits[:, : head.shape[1]] - head).abs().amax(dim=1) < limit * norms)
    assert logits.argmax(dim=1).tolist() == expected["argmax"]
    assert [list(m.shape[1:]) for m in maps] == expected["stage_shape"]
    means = torch.stack([m.abs().mean() for m in maps])
    assert torch.allclose(means, torch.tensor(expected["stage_mean_abs"], dtype=torch.float64), rtol=limit, atol=0)
    assert sum(p.numel() for p in model.parameters()) == expected["params"]
