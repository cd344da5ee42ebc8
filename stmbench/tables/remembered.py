"""Texts of files that were verified, for as long as the files are not written."""

from __future__ import annotations

import zlib
from typing import Final

MOST: Final = 20_000  # files


class RememberedTexts:
    """Texts by file and version, packed: what most have in common (machine, software) takes room once."""

    def __init__(self) -> None:
        self._known = dict[str, tuple[tuple[int, ...], bytes]]()
        self._common = b""

    def get(self, file: str, version: tuple[int, ...] | None) -> bytes | None:
        """The text of a file of this version; None where it is not known."""
        known = self._known.get(file)
        if known is None or known[0] != version:
            return None
        return zlib.decompressobj(zdict=self._common).decompress(known[1])

    def keep(self, file: str, version: tuple[int, ...], text: bytes) -> None:
        """Remember a text, in place of that of another version; beyond MOST all others are forgotten."""
        if len(self._known) >= MOST:
            self._known.clear()
        self._common = self._common or text
        packer = zlib.compressobj(level=1, zdict=self._common)
        self._known[file] = version, packer.compress(text) + packer.flush()
