from __future__ import annotations

import pytest

from stmbench.analyses.models import by_name, by_scale
from stmbench.architectures.base import ARCHITECTURES
from stmbench.errors import ConfigError, UnknownNameError


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


REFUSED = {
    "unified_sw_attn_nano[hallo=1]": "got 'hallo'",
    "unified_halo_attn_nano[halo=x]": "options that unified_halo_attn_nano can be built with, got TypeError",
    "timm:resnet18[foo=1]": "options of timm's resnet18",
    "maskrcnn:unified_dw_conv_nano[hallo=1]": "got 'hallo'",
}


@pytest.mark.parametrize("name", REFUSED)
def test_options_are_refused_before_anything_is_measured(name: str) -> None:
    with pytest.raises(ConfigError) as caught:
        by_name(["unified_dw_conv_nano", name])
    assert REFUSED[name] in str(caught.value)


def test_unknown_mixers_and_architectures_are_refused() -> None:
    with pytest.raises(UnknownNameError, match="did you mean dw_conv"):
        by_scale("nano", mixers=["dw_cov"])
    with pytest.raises(UnknownNameError, match="architecture"):
        by_scale("nano", architecture="unifed")
