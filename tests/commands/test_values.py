"""Words of the command line become values, or one line that says why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stmbench.commands import options, values
from stmbench.errors import InputError
from stmbench.mixers.base import SCALES


@pytest.mark.parametrize(
    ("given", "items"),
    [
        (None, []),
        ("a", ["a"]),
        ("a, b,,a", ["a", "b"]),
        (["a,b", "c"], ["a", "b", "c"]),
        ("m[x=1,y=2],n", ["m[x=1,y=2]", "n"]),
    ],
)
def test_items(given: str | list[str] | None, items: list[str]) -> None:
    assert values.items(given) == items


@pytest.mark.parametrize(
    ("given", "sizes"),
    [("224", [(224, 224)]), ("224x320", [(224, 320)]), ("32, 1024X512", [(32, 32), (1024, 512)])],
)
def test_resolutions(given: str, sizes: list[tuple[int, int]]) -> None:
    assert values.resolutions(given) == sizes


@pytest.mark.parametrize(
    ("read", "given", "line"),
    [
        (values.items, "m[x=1", "expected a list with closed brackets, got 'm[x=1'; close the bracket"),
        (values.resolutions, "0", "expected a resolution of at least 1, got '0'; change --resolution"),
        (values.resolutions, "224x0", "expected a resolution of at least 1, got '224x0'; change --resolution"),
        (values.resolutions, "big", "expected a resolution such as 224 or 224x320, got 'big'; change --resolution"),
        (values.resolutions, "-224", "expected a resolution such as 224 or 224x320, got '-224'; change --resolution"),
        (values.resolutions, "1e3", "expected a resolution such as 224 or 224x320, got '1e3'; change --resolution"),
        (values.resolutions, "2x3x4", "expected a resolution such as 224 or 224x320, got '2x3x4'; change --resolution"),
        (values.resolutions, "²", "expected a resolution such as 224 or 224x320, got '²'; change --resolution"),
        (values.resolutions, "", "expected a resolution such as 224 or 224x320, got ''; change --resolution"),
        (values.scale, "micor", "expected a scale, got 'micor'; did you mean micro?"),
        (values.dtypes, "fp32,fp8", "expected a dtype, got 'fp8'; did you mean fp32 or fp16?"),
        (values.dtypes, "", "expected a dtype, got ''; known: bf16, fp16, fp32"),
        (values.device, "cpuu", "expected a device, got 'cpuu'; did you mean cpu or cuda?"),
        (values.device, "cuda:x", "expected a device, got 'cuda:x'; did you mean cuda?"),
        (values.device, "cuda:999", "expected a device of this machine, got 'cuda:999' with "),
    ],
)
def test_refusals(read: object, given: str, line: str) -> None:
    assert callable(read)
    with pytest.raises(InputError) as caught:
        read(given)
    assert str(caught.value).startswith(line)


def test_dtypes_and_devices() -> None:
    assert values.dtypes("bf16,fp32") == ["bf16", "fp32"]
    assert values.device("cpu") == "cpu"
    assert values.device("auto") in ("cpu", "cuda")
    assert values.device("cuda", elsewhere=True) == "cuda"


def test_the_names_offered_are_the_names_there_are() -> None:
    assert values.SCALE_NAMES == SCALES
    assert options.complete_scales("m") == ["micro"]
    assert options.complete_mixers("dw_conv,sr") == ["dw_conv,sr_attn"]
    assert "unified_dcnv3_micro" in options.complete_models("unified_dcn")


def test_python_files_are_offered(tmp_path: Path) -> None:
    (tmp_path / "mine.py").touch()
    (tmp_path / "mine.txt").touch()
    (tmp_path / "more").mkdir()
    assert options.complete_python_files(f"{tmp_path}/m") == [f"{tmp_path}/mine.py", f"{tmp_path}/more/"]
    assert options.complete_python_files(f"{tmp_path}/nowhere/m") == []
