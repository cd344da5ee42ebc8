"""Texts in the footer of a sealed file, without decoding the rest of it, which takes ten times as long."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import pyarrow as pa

from stmbench.tables.files import is_intact, sealed


def texts_in_footer(data: bytes, schema: pa.Schema, keys: Sequence[bytes]) -> list[bytes] | None:
    """The values of keys of a file's metadata, as JSON or numbers; None where the file has to be decoded to know.

    That is so unless the file is intact, has the columns of `schema` and all of the keys.
    """
    footer = _footer(data)
    if not footer.startswith(_columns(schema)) or not is_intact(data):
        return None
    try:
        return [_text(footer, key) for key in keys]
    except ValueError:
        return None


def _footer(data: bytes) -> bytes:
    return data[max(0, len(data) - 8 - int.from_bytes(data[-8:-4], "little")) : -8]


@functools.lru_cache(maxsize=4)
def _columns(schema: pa.Schema) -> bytes:
    """How the footer of any file with these columns begins: up to the number of rows, in which two files differ."""
    tables = (schema.empty_table(), pa.table([[None]] * len(schema), schema=schema))
    one, other = (_footer(sealed(table)) for table in tables)
    return one[: next(place for place, pair in enumerate(zip(one, other, strict=False)) if pair[0] != pair[1])]


def _text(footer: bytes, key: bytes) -> bytes:
    """A key's value: both stand there as text, after a mark and their length (Thrift's compact form).

    The last place is the right one: columns' statistics come before, and neither JSON nor the base64 of Arrow's schema
    can contain the mark. Raises ValueError where there is no such key.
    """
    mark = b"\x18" + bytes([len(key)]) + key + b"\x18"
    place = footer.rindex(mark) + len(mark)
    length, shift = 0, 0
    while True:  # seven bits at a time, the lowest first
        byte = footer[place]
        length |= (byte & 127) << shift
        place, shift = place + 1, shift + 7
        if byte < 128:
            return footer[place : place + length]
