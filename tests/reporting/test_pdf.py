"""The PDF: the same bytes for the same content, hostile names as text, and no typst."""

from __future__ import annotations

import builtins
import sys
from typing import Any

import pytest

from stmbench.errors import MissingPackageError
from stmbench.reporting import build_report
from stmbench.reporting.formats.pdf import pdf
from tests.reporting.evil import NAMES, evil_report
from tests.tables.frames import profile_frame


@pytest.fixture
def without_typst(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation without the extra 'report'."""
    real = builtins.__import__

    def refusing(name: str, *rest: Any) -> Any:
        if name == "typst":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.delitem(sys.modules, "typst", raising=False)
    monkeypatch.setattr(builtins, "__import__", refusing)


@pytest.mark.usefixtures("without_typst")
def test_without_typst_the_extra_is_named() -> None:
    with pytest.raises(MissingPackageError, match=r"pip install 'stmbench\[report\]'"):
        pdf(build_report(profile_frame(["dw_conv"])))


def test_the_same_content_gives_the_same_bytes() -> None:
    pytest.importorskip("typst")
    frame = profile_frame(["dw_conv", "sr_attn"], raw=False)
    some = frame[frame["metric"].isin(["throughput", "macs"])]
    first, second = (pdf(build_report(some)) for _ in range(2))
    assert first.startswith(b"%PDF-")
    assert first == second
    assert b"CreationDate" not in first


@pytest.mark.parametrize("name", NAMES)
def test_hostile_names_are_only_words(name: str) -> None:
    pytest.importorskip("typst")
    assert pdf(evil_report(name)).startswith(b"%PDF-")
