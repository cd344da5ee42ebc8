"""A part's seal: the SHA-256 of the whole file, inside the file.

Parquet's own checksums cover pages of values but no header or footer, and a flipped bit there reads back as another
value. The seal is an entry of the file's metadata. It is the hash of the file with 64 zeros in the seal's place, so any
reader of Parquet opens a sealed part as it stands, and part and seal appear and move together.
"""

from __future__ import annotations

import hashlib
import io
import re
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import TableError

KEY: Final = b"stmbench.seal"
BLANK: Final = KEY + b" sha256:" + b"0" * 64
# key and value both carry the word: one damaged byte cannot make a sealed part look like one of before the seal
_SEAL: Final = re.compile(re.escape(BLANK[:-64]) + rb"([0-9a-f]{64})")


def sealed(table: pa.Table) -> bytes:
    """The table as a sealed Parquet file, every page with its checksum."""
    content = io.BytesIO()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), KEY: BLANK})
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    data = content.getvalue()
    if data.count(BLANK) != 1 or len(_SEAL.findall(data)) != 1:
        raise TableError("metadata without a part's seal", "a text that looks like one", "leave it out")
    return data.replace(BLANK, BLANK[:-64] + hashlib.sha256(data).hexdigest().encode())


def is_sealed(data: bytes) -> bool:
    """Whether the file has a seal, whole or broken; parts of older versions have none."""
    return KEY in data


def is_whole(data: bytes) -> bool:
    """Whether a sealed file is what was written, to the bit."""
    seals = list(_SEAL.finditer(data))
    if len(seals) != 1:
        return False
    start, end = seals[0].span(1)
    found = hashlib.sha256(data[:start])
    found.update(b"0" * 64)
    found.update(data[end:])
    return found.hexdigest().encode() == seals[0].group(1)
