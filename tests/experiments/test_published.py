"""Which row of a published table belongs to which model of an experiment."""

from __future__ import annotations

from typing import Any

import pytest

from stmbench.errors import ConfigError, UnknownNameError
from stmbench.experiments.experiment import Column, Experiment, ModelLine, PublishedLines
from stmbench.experiments.published import published_values
from stmbench.experiments.steps import Step

TOP1 = Column(metric="accuracy", factor=0.01, analysis="eval")
PARAMS = Column(metric="params", factor=1e6)


def experiment(models: list[ModelLine], *blocks: PublishedLines) -> Experiment:
    return Experiment(
        name="e", title="E", models=tuple(models), analyses=(Step(name="eval", analysis="eval"),), published=blocks
    )


def block(table: str, **fields: Any) -> PublishedLines:
    return PublishedLines(**{"table": table, "columns": {"top1": TOP1}, **fields})


def test_by_what_the_name_says() -> None:
    models = [ModelLine(model="unified_dcnv3_tiny", label="U-InternImage"), ModelLine(model="unified_identity_tiny")]
    columns = {"params_m": PARAMS, "top1": TOP1}
    values = published_values(
        experiment(models, block("stm_table3_imagenet", match=("mixer", "scale"), columns=columns))
    )
    assert [(value.model, value.column, value.value) for value in values] == [
        ("unified_dcnv3_tiny", "params_m", 29.9e6),
        ("unified_dcnv3_tiny", "top1", 0.833),
    ]
    assert values[0].label == "U-InternImage"
    assert dict(values[1].conditions) == {"analysis": "eval"}


def test_by_the_papers_name_and_without_empty_cells() -> None:
    models = [
        ModelLine(model="container_container_tiny", row={"network": "CONTAINER"}),
        ModelLine(model="isotropic_container_pam_tiny", row={"network": "CONTAINER-PAM"}),
        ModelLine(model="container_identity_tiny"),
    ]
    columns = {"params_m": PARAMS, "top1": TOP1}
    values = published_values(experiment(models, block("container_table1_imagenet", columns=columns)))
    assert [(value.model, value.column) for value in values] == [
        ("container_container_tiny", "params_m"),
        ("container_container_tiny", "top1"),
        ("isotropic_container_pam_tiny", "top1"),
    ]


def test_a_block_of_one_model() -> None:
    models = [ModelLine(model="container_v1_light"), ModelLine(model="container_identity_tiny")]
    column = {"container_light_top1": TOP1}
    share = block(
        "container_table3_data_efficiency", columns=column, model="container_v1_light", where={"data_percent": 10}
    )
    assert [value.value for value in published_values(experiment(models, share))] == [0.618]


def test_a_block_that_speaks_of_other_rows_leaves_a_model_out() -> None:
    at = {resolution: {"model": "SE-CoTNetD-152", "resolution": resolution} for resolution in (224, 320)}
    models = [
        ModelLine(model="se_cotnetd_152", row=at[224]),
        ModelLine(model="se_cotnetd_152[img_size=320]", row=at[320]),
    ]
    columns = {"macs_g": Column(metric="macs", factor=1e9)}
    values = published_values(
        experiment(models, block("cot_table3_4_imagenet", where={"resolution": 224}, columns=columns))
    )
    assert [(value.model, value.value) for value in values] == [("se_cotnetd_152", 17e9)]


@pytest.mark.parametrize(
    ("row", "fields", "error", "words"),
    [
        ({"model": "CoTNet-51"}, {}, ConfigError, "no row with model CoTNet-51"),
        ({"model": "SE-CoTNetD-152"}, {}, ConfigError, "2 rows with model SE-CoTNetD-152"),
        ({"model": "CoTNet-50"}, {"where": {"resolution": 225}}, ConfigError, "no row with resolution 225"),
        ({"mdoel": "CoTNet-50"}, {}, UnknownNameError, "did you mean model"),
        ({"model": "CoTNet-50"}, {"match": ("mixr",)}, UnknownNameError, "did you mean mixer"),
        ({}, {"model": "cotnet50"}, ConfigError, "9 rows with no condition"),
        ({}, {"model": "cotnet51"}, UnknownNameError, "did you mean cotnet50"),
    ],
)
def test_a_row_that_is_not_one(row: dict[str, Any], fields: dict[str, Any], error: type, words: str) -> None:
    lines = block("cot_table3_4_imagenet", columns={"params_m": PARAMS}, **fields)
    with pytest.raises(error, match=words):
        published_values(experiment([ModelLine(model="cotnet50", row=row)], lines))
