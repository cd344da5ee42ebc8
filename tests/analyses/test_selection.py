from __future__ import annotations

import pytest

from stmbench.analyses.models import by_name, by_scale
from stmbench.architectures.base import ARCHITECTURES
from stmbench.errors import UnknownNameError


def test_names_and_patterns() -> None:
    found = by_name(["unified_d*_conv_nano", "unified_sw_attn_nano[window=4]", "timm:resnet18", "timm:resnet3?"])
    assert found[:3] == ("unified_dw_conv_nano", "unified_sw_attn_nano[window=4]", "timm:resnet18")
    assert "timm:resnet34" in found[3:]
    assert len(set(found)) == len(found)


def test_a_scale_is_the_architectures_own_mixers() -> None:
    for name in ARCHITECTURES:
        expected = tuple(f"{name}_{mixer}_tiny" for mixer in ARCHITECTURES.get(name).mixers)
        assert by_scale("tiny", architecture=name) == expected
    assert by_scale("nano", mixers=["dcnv3", "dw_conv", "dcnv3"]) == ("unified_dcnv3_nano", "unified_dw_conv_nano")


@pytest.mark.parametrize("names", [["unified_dw_con_nano"], ["unified_q*"], ["timm:nothing_like_it*"]])
def test_unknown_names_are_refused(names: list[str]) -> None:
    with pytest.raises(UnknownNameError):
        by_name(names)


def test_unknown_mixers_and_architectures_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean dw_conv"):
        by_scale("nano", mixers=["dw_cov"])
    with pytest.raises(UnknownNameError, match="architecture"):
        by_scale("nano", architecture="unifed")
