"""Units of work of affinities: what they write, what they keep, what they skip."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from stmbench.analyses.affinity.analysis import AffinityAnalysis
from stmbench.analyses.affinity.options import AffinityConfig
from stmbench.analyses.affinity.studies import Maps, visit
from stmbench.analyses.images import ImageRequest
from stmbench.analyses.loaded_model import load_model
from stmbench.analyses.unit import Report
from stmbench.architectures.catalog import create_model
from stmbench.architectures.given_models import model_name_of
from stmbench.errors import InputError
from stmbench.mixers.base import MIXERS, Mixer, MixerConfig, register_mixer
from stmbench.tables import Store

NAMES = ("unified_sw_attn_nano", "unified_dw_conv_nano")
METRICS = {
    "attention_distance", "affinity_entropy", "self_weight", "mass_within", "centroid_offset", "centroid_y",
    "centroid_x", "padding_mass",
}  # fmt: skip


def request(*names: str, **settings: Any) -> ImageRequest:
    known: dict[str, Any] = {"dataset": "digits", "num_images": 3, "batch_size": 2}
    return ImageRequest(models=names, **{**known, **settings})


def run(
    folder: Path, *names: str, fresh: bool = False, config: AffinityConfig | None = None, **settings: Any
) -> Report:
    analysis = AffinityAnalysis(config or AffinityConfig(), request(*names, **settings), Store(folder))
    return analysis.run(fresh=fresh)


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("affinity")
    report = run(folder, *NAMES)
    assert (report.measured, report.kept, report.failures) == (4, 0, [])
    return folder, Store(folder).read(report.keys)


def test_every_layer_and_head_has_its_numbers(done: tuple[Path, pd.DataFrame]) -> None:
    rows = done[1][done[1]["metric"] != "affinity_map"]
    assert set(rows["metric"]) == METRICS
    assert set(rows["definition"]) == {"affinity.v1"}
    of_layers = rows[rows["head"].isna()]
    counts = of_layers.groupby(["model", "stage", "block"]).size()
    assert len(counts) == 16
    assert set(counts) == {len(METRICS) - 1 + 3}  # three radii
    heads = rows[rows["head"].notna() & (rows["model"] == "unified_dw_conv_nano") & (rows["metric"] == "self_weight")]
    assert heads.groupby("stage")["head"].nunique().tolist() == [16, 32, 64, 128]  # a head for each channel


def test_what_depends_on_images_has_an_interval_over_them(done: tuple[Path, pd.DataFrame]) -> None:
    rows = done[1][done[1]["head"].isna() & (done[1]["metric"] == "attention_distance")]
    dynamic = rows[(rows["model"] == "unified_sw_attn_nano") & (rows["stage"] == 0)]
    assert (dynamic["ci_low"] < dynamic["ci_high"]).all()
    assert set(dynamic["num_samples"]) == {3}
    static = rows[rows["model"] == "unified_dw_conv_nano"]
    assert static["ci_low"].isna().all()


def test_the_shift_is_seen_in_every_second_block(done: tuple[Path, pd.DataFrame]) -> None:
    """A map of 8 in windows of 4, moved by 2: four windows become nine, of which the corners hold four tokens."""
    rows = done[1][(done[1]["model"] == "unified_sw_attn_nano") & done[1]["head"].isna() & (done[1]["stage"] == 0)]
    entropy = rows[rows["metric"] == "affinity_entropy"].sort_values("block")["value"].tolist()
    assert entropy[0] == pytest.approx(4, abs=0.1)  # 16 tokens, nearly uniform at random init
    assert entropy[1] == pytest.approx((4 * 4 * 2 + 32 * 3 + 16 * 4) / 64, abs=0.1)


def test_maps_hold_the_rows_of_the_affinity(done: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = done
    rows = frame[(frame["metric"] == "affinity_map") & (frame["model"] == "unified_dw_conv_nano")]
    assert sorted(set(rows["stage"])) == [0, 3]
    (artifact,) = set(rows["artifact"])
    with np.load(folder / artifact) as file:
        arrays = {name: file[name] for name in file.files}
    assert set(rows[rows["stage"] == 0]["position"]) == set(arrays["layer1.positions"].tolist())
    assert arrays["layer1.map"].tolist() == [8, 8]
    loaded = load_model("unified_dw_conv_nano", num_classes=10)
    mixer: Any = loaded.model.get_submodule("stages.0.blocks.0.mixer")
    weights = mixer.affinity(torch.zeros(1, 8, 8, 16)).rows(torch.tensor(arrays["layer1.positions"])).abs()
    expected = (weights / weights.sum(-1, keepdim=True)).mean(1)
    np.testing.assert_allclose(arrays["layer1.whole"][0, 0], expected[0].detach().numpy(), atol=1e-6)


def test_a_second_run_keeps_what_there_is(done: tuple[Path, pd.DataFrame]) -> None:
    folder, frame = done
    again = run(folder, *NAMES)
    assert (again.measured, again.kept) == (0, 4)
    assert len(Store(folder).read(again.keys)) == len(frame)
    other = run(folder, *NAMES, config=AffinityConfig(positions=(5,), layers=("1",)))
    assert (other.measured, other.kept) == (2, 2)  # numbers do not depend on what is drawn


def test_lost_maps_are_made_again(tmp_path: Path) -> None:
    run(tmp_path, NAMES[1])
    (path,) = tmp_path.glob("parts/*maps.npz")
    path.unlink()
    assert run(tmp_path, NAMES[1]).measured == 1
    assert path.is_file()


def test_numbers_do_not_depend_on_the_batch(done: tuple[Path, pd.DataFrame], tmp_path: Path) -> None:
    report = run(tmp_path, NAMES[0], batch_size=3)
    found = Store(tmp_path).read(report.keys)
    expected = done[1][done[1]["model"] == NAMES[0]]
    np.testing.assert_allclose(found["value"], expected["value"], rtol=1e-4, atol=1e-5)


def test_maps_of_each_image_come_with_the_images(tmp_path: Path) -> None:
    run(tmp_path, NAMES[0], config=AffinityConfig(per_image=True, heads=("mean", "0"), layers=("2",), positions=(9,)))
    (path,) = tmp_path.glob("parts/*maps.npz")
    with np.load(path) as file:
        assert file["layer2.whole"].shape == (3, 2, 1, 64)
        assert file["images"].shape == (3, 32, 32, 3)
        assert file["layer2.heads"].tolist() == [-1, 0]
        np.testing.assert_allclose(file["layer2.whole"].sum(-1), 1, rtol=1e-5)


def test_the_jacobian_of_blocks_and_mixers_is_written_position_by_position(tmp_path: Path) -> None:
    config = AffinityConfig(jacobian="mixer", positions=(0,), layers=("1", "last"))
    report = run(tmp_path, *NAMES, config=config)
    frame = Store(tmp_path).read(report.keys)
    assert set(frame["definition"]) == {"affinity.jacobian.v1"}
    assert set(frame["condition"].dropna()) >= {"jacobian of mixer"}
    assert set(frame["position"]) == {0}
    distance = frame[(frame["metric"] == "attention_distance") & (frame["stage"] == 0)].set_index("model")["value"]
    assert distance["unified_dw_conv_nano"] < distance["unified_sw_attn_nano"] < 32
    block = run(tmp_path, NAMES[1], config=dataclasses.replace(config, jacobian="block"))
    frame = Store(tmp_path).read(block.keys)
    own = frame[(frame["metric"] == "self_weight") & (frame["stage"] == 0)]["value"].item()
    assert own > 0.99  # the residual: the layer scale starts at 1e-6


@pytest.fixture
def without() -> Iterator[str]:
    """A registered mixer that has no affinity."""

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(MixerConfig):
        pass

    class Squares(Mixer):
        def __init__(self, config: Config) -> None:
            super().__init__()

        def forward(self, x: Tensor) -> Tensor:
            return x * x.mean((1, 2), keepdim=True)

    register_mixer("squares", config=Config)(Squares)
    yield "unified_squares_nano"
    MIXERS.unregister("squares")


def test_a_mixer_without_an_affinity_has_a_jacobian_instead_unless_it_is_to_have_none(
    without: str, tmp_path: Path
) -> None:
    with pytest.raises(
        InputError, match=r"linear map of its values, got unified_squares_nano, without any; .*--jacobian"
    ):
        run(tmp_path / "new", without, config=AffinityConfig(jacobian="none"))
    assert not (tmp_path / "new").exists()
    report = run(tmp_path, without)
    assert (report.measured, report.failures) == (1, [])
    assert report.notes == [f"{without} has no affinity of its own: the Jacobian affinity of the mixer is shown"]
    frame = Store(tmp_path).read(report.keys)
    assert set(frame["definition"]) == {"affinity.jacobian.v1"}
    assert set(frame["condition"].dropna()) == {"jacobian of mixer", "jacobian"}
    assert (frame["status"] == "ok").all()
    explicit = run(tmp_path, without, config=AffinityConfig(jacobian="mixer"))
    assert (explicit.measured, explicit.keys, explicit.notes) == (0, report.keys, []), "the same unit"


def test_a_mixer_without_an_affinity_does_not_change_the_others(without: str, tmp_path: Path) -> None:
    alone = run(tmp_path, NAMES[1], config=AffinityConfig(jacobian="none"))
    report = run(tmp_path, without, NAMES[1])
    assert (report.measured, report.reused, report.failures) == (1, alone.keys, [])
    frame = Store(tmp_path).read(report.keys)
    definitions = frame.groupby("model")["definition"].unique().map(list).to_dict()
    assert definitions == {NAMES[1]: ["affinity.v1"], without: ["affinity.jacobian.v1"]}
    refused = run(tmp_path / "none", without, NAMES[1], config=AffinityConfig(jacobian="none"))
    assert len(refused.failures) == 2
    assert all("no affinity" in failure and "--jacobian" in failure for failure in refused.failures)


def test_in_a_mixed_model_only_the_layers_without_an_affinity_fall_back(without: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = create_model(NAMES[1])
    for path in ("stages.0.blocks.0", "stages.3.blocks.1"):
        network.get_submodule(path).mixer = create_model(without).get_submodule(path).mixer
    name = model_name_of(network)
    report = run(tmp_path, name, config=AffinityConfig(layers=("1", "2", "last")))
    assert (report.measured, report.failures) == (3, [])
    frame = Store(tmp_path).read(report.keys)
    jacobian = frame[(frame["definition"] == "affinity.jacobian.v1") & frame["value"].notna()]
    assert set(zip(jacobian["stage"], jacobian["block"], strict=True)) == {(0, 0), (3, 1)}
    own = frame[(frame["definition"] == "affinity.v1") & frame["value"].notna()]
    assert len(set(zip(own["stage"], own["block"], strict=True))) == 6
    report = run(tmp_path, name, config=AffinityConfig(layers=("1", "last")))
    assert report.failures == [], "there are no maps to fail where every chosen layer falls back"


def test_a_pass_ends_after_the_last_layer_that_is_looked_at() -> None:
    loaded = load_model(NAMES[1], num_classes=10)
    study = Maps(loaded, AffinityConfig(layers=("1", "3")), seed=0)
    seen, heads = [], []
    handle = loaded.model.get_submodule("head").register_forward_hook(lambda *_: heads.append(1))
    visit(loaded, study.layers, torch.rand(2, 3, 32, 32), lambda layer, module, x: seen.append((layer.number, x.shape)))
    handle.remove()
    assert seen == [(1, (2, 8, 8, 16)), (3, (2, 4, 4, 32))]
    assert heads == []
    assert not any(module._forward_pre_hooks for module in loaded.model.modules())
