from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from stmbench.analyses.base import Analysis, Outcome
from stmbench.analyses.registry import AnalysisSpec, Metric, register_analysis, unregister_analysis
from stmbench.analyses.unit import Unit
from stmbench.errors import UnitError
from stmbench.measure.backend_settings import BackendSettings
from stmbench.tables import Store

MODELS = ("unified_dw_conv_nano", "unified_sw_attn_nano", "timm:resnet18")


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    register_analysis(AnalysisSpec(name="draw", title="Draw", summary="", metrics=(Metric(name="number", unit="1"),)))
    yield
    unregister_analysis("draw")


class Draw(Analysis):
    """One random number a model; `broken` ones raise."""

    name = "draw"

    def __init__(self, store: Store, *, seed: int = 0, broken: dict[str, Exception] | None = None) -> None:
        super().__init__(store=store, seed=seed, device="cpu")
        self.broken, self.measured = broken or {}, list[str]()

    @property
    def definition(self) -> str:
        return "draw.v1"

    def headline(self, unit: Unit) -> str | None:
        return "number"

    def units(self) -> Iterator[Unit]:
        for model in MODELS:
            yield Unit(
                analysis=self.name,
                definition=self.definition,
                task="draw",
                models=(model,),
                weights=("random:0",),
                conditions={},
                seed=self.seed,
            )

    def measure(self, unit: Unit) -> Outcome:
        (model,) = unit.models
        if model in self.broken:
            raise self.broken[model]
        self.measured.append(model)
        value = torch.rand(1).item() + np.random.rand()
        return Outcome(rows=[self.row(metric="number", value=value, model=model)], notes={"note": "n"})


def test_rows_carry_what_the_run_knows(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Draw(store, seed=4).run()
    frame = store.read().set_index("model")
    assert set(frame.index) == set(MODELS)
    row = frame.loc["unified_sw_attn_nano"]
    facts = ("analysis", "definition", "architecture", "mixer", "scale", "weights", "seed", "device", "unit", "status")
    expected = ("draw", "draw.v1", "unified", "sw_attn", "nano", "random:4", 4, "cpu", "1", "ok")
    assert tuple(row[list(facts)]) == expected
    timm = frame.loc["timm:resnet18"]
    assert timm["architecture"] == "timm"
    assert timm[["mixer", "scale"]].isna().all()
    assert set(store.read().attrs["mixers"]) == {"dw_conv", "sw_attn", "timm:resnet18"}


def test_every_unit_is_seeded_by_itself(tmp_path: Path) -> None:
    whole, part = Store(tmp_path / "whole"), Store(tmp_path / "part")
    Draw(whole).run()
    Draw(part, broken={MODELS[0]: UnitError("not now")}).run()
    values = whole.read().set_index("model")["value"]
    assert values[MODELS[1]] == part.read().set_index("model")["value"][MODELS[1]]


def test_a_second_run_measures_nothing_unless_fresh(tmp_path: Path) -> None:
    store = Store(tmp_path)
    first, second, third = Draw(store), Draw(store), Draw(store)
    assert (first.run().measured, second.run().kept) == (3, 3)
    assert second.measured == []
    assert third.run(fresh=True).measured == 3
    assert len(store.read()) == 3, "replaced, not added"
    assert set(store.read()["run_id"]) == {third.run_id}


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (UnitError("the child died"), "the child died"),
        (RuntimeError("not implemented\nfor 'Half'"), "RuntimeError: not implemented for 'Half'"),
        (MemoryError(), "MemoryError: "),
        (OSError('no "/opt/someone/of/us/model.py", line 4'), 'OSError: no "model.py", line 4'),
        (
            OSError("see http://example.org/a/b.html, file:///opt/c.py"),
            "OSError: see http://example.org/a/b.html, file://c.py",
        ),
        (ValueError("224/7 and a/b stay"), "ValueError: 224/7 and a/b stay"),
    ],
)
def test_a_unit_that_fails_is_a_row_and_stops_nothing(tmp_path: Path, error: Exception, reason: str) -> None:
    store = Store(tmp_path)
    report = Draw(store, broken={MODELS[1]: error}).run()
    frame = store.read().set_index("model")
    assert frame["status"].to_dict() == {MODELS[0]: "ok", MODELS[1]: "failed", MODELS[2]: "ok"}
    assert frame.loc[MODELS[1], "reason"] == reason
    assert np.isnan(frame.loc[MODELS[1], "value"])
    assert report.failures == [f"draw of {MODELS[1]}: {reason}"]


def test_what_failed_is_tried_again(tmp_path: Path) -> None:
    store = Store(tmp_path)
    Draw(store, broken={MODELS[1]: UnitError("not now")}).run()
    again = Draw(store)
    report = again.run()
    assert again.measured == [MODELS[1]]
    assert (report.measured, report.kept) == (1, 2)
    assert (store.read()["status"] == "ok").all()


def test_an_interrupt_is_no_failure(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        Draw(store, broken={MODELS[1]: KeyboardInterrupt()}).run()  # type: ignore[dict-item]
    assert store.read()["model"].tolist() == [MODELS[0]]


def test_metadata_says_where_rows_come_from(tmp_path: Path) -> None:
    store = Store(tmp_path)
    analysis = Draw(store)
    (key, *_) = analysis.run().keys
    metadata = store.metadata(key)
    assert metadata["machine"] == analysis.machine_facts
    assert metadata["software"]["torch"] == analysis.software["torch"]
    assert metadata["note"] == "n"
    assert metadata["status"] == "ok"


def test_rows_of_another_commit_are_said(tmp_path: Path) -> None:
    store = Store(tmp_path)
    old, new = Draw(store), Draw(store)
    old.software = {**old.software, "commit": "1" * 40}
    new.software = {**new.software, "commit": "2" * 40}
    old.run()
    assert new.run().warnings == ["parts of commit 11111111 were kept; --fresh measures them again"]


def test_what_was_damaged_is_measured_again_and_said(tmp_path: Path) -> None:
    """Flipped bits in the footer, where a part's metadata is: the unit does not vanish, and the store heals."""
    store = Store(tmp_path)
    (key, *_) = Draw(store).run().keys
    path = store.parts / f"{key}.parquet"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    again = Draw(store)
    report = again.run()
    assert again.measured == [MODELS[0]]
    assert report.kept == 2
    assert report.warnings == [f"damaged, and measured again: {key}.parquet: other bytes than were written"]
    assert store.read().attrs["unreadable"] == []
    assert Draw(store).run().warnings == []


def test_metadata_without_a_status_is_not_done(tmp_path: Path) -> None:
    store = Store(tmp_path)
    (key, *_) = Draw(store).run().keys
    metadata = store.metadata(key)
    store.write(key, [Draw(store).row(metric="number", value=1, model=MODELS[0])], metadata={
        name: value for name, value in metadata.items() if name not in ("status", "disturbances")
    })  # fmt: skip
    again = Draw(store)
    again.run()
    assert again.measured == [MODELS[0]]


@pytest.mark.parametrize("tuned", [False, True])
def test_how_it_is_computed_is_set_recorded_and_put_back(
    tmp_path: Path, tuned: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen, before = list[BackendSettings](), BackendSettings.current()
    monkeypatch.setattr(Draw, "tuned", tuned)
    measure = Draw.measure
    monkeypatch.setattr(
        Draw, "measure", lambda self, unit: seen.append(BackendSettings.current()) or measure(self, unit)
    )
    store = Store(tmp_path)
    Draw(store).run()
    assert seen == [BackendSettings(tf32=False, benchmark=tuned, deterministic=not tuned)] * len(MODELS)
    assert BackendSettings.current() == before
    noted = store.metadata(store.keys()[0])["arithmetic"]
    assert noted == {"tf32": False, "cudnn_benchmark": tuned, "cudnn_deterministic": not tuned}
