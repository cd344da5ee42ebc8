"""CUDA's streams and graphs without a GPU: what was asked of them, in order."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch


class FakeCuda:
    """`log` holds the streams' and graphs' events; `broken` makes captures fail with its message."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, cache: int = 2**27) -> None:
        self.log: list[str] = []
        self.broken: str | None = None
        self.is_capturing = False
        owner = self

        class Stream:
            def __init__(self, name: str = "side") -> None:
                self.name = name

            def wait_stream(self, other: Stream) -> None:
                owner.log.append(f"{self.name} waits for {other.name}")

        class Graph:
            def replay(self) -> None:
                owner.log.append("replay")

        @contextlib.contextmanager
        def within(word: str) -> Iterator[None]:
            owner.log.append(word)
            yield

        @contextlib.contextmanager
        def capture(_graph: Graph) -> Iterator[None]:
            owner.is_capturing = True
            try:
                if owner.broken:
                    raise RuntimeError(owner.broken)
                yield
            finally:
                owner.is_capturing = False

        fakes: dict[str, Any] = {
            "Stream": Stream,
            "CUDAGraph": Graph,
            "current_stream": lambda: Stream("current"),
            "device": lambda name: within(f"on {name}"),
            "stream": lambda stream: within(f"in {stream.name}"),
            "graph": capture,
            "get_device_properties": lambda _: types.SimpleNamespace(L2_cache_size=cache),
        }
        for name, fake in fakes.items():
            monkeypatch.setattr(torch.cuda, name, fake)

    def pass_(self) -> Callable[[], object]:
        """A pass that says whether it ran or was captured."""
        return lambda: self.log.append("captured" if self.is_capturing else "run")
