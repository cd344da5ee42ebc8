"""What reveals damage: a part's seal, the types of its metadata, and the hashes of the artifacts that its rows name.

Parquet's own checksums cover pages of values but no header or footer, and a flipped bit there reads back as another
value. The seal is an entry of the file's metadata: the SHA-256 of the whole file, with 64 zeros in the place of the
hash. Any reader of Parquet opens a sealed part as it is, and part and seal appear and move together.
"""

from __future__ import annotations

import hashlib
import io
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.errors import TableError

SEAL_KEY: Final = b"stmbench.seal"
_BLANK: Final = SEAL_KEY + b" sha256:" + b"0" * 64
# key and value both hold the word: one damaged byte cannot make a sealed part look like one without a seal
_SEAL: Final = re.compile(re.escape(_BLANK[:-64]) + rb"([0-9a-f]{64})")

ARTIFACTS: Final = "artifacts"  # in a part's metadata: path in the store -> bytes and sha256
GONE: Final = "the file is gone"


def sealed(table: pa.Table) -> bytes:
    """The table as a sealed Parquet file, with a checksum for every page."""
    content = io.BytesIO()
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), SEAL_KEY: _BLANK})
    pq.write_table(table, content, compression="zstd", write_page_checksum=True)
    data = content.getvalue()
    if data.count(_BLANK) != 1 or len(_SEAL.findall(data)) != 1:
        raise TableError("metadata without a part's seal", "a text that looks like one", "leave it out")
    return data.replace(_BLANK, _BLANK[:-64] + hashlib.sha256(data).hexdigest().encode())


def is_sealed(data: bytes) -> bool:
    """Whether the file has a seal, intact or broken; parts of older versions have none."""
    return SEAL_KEY in data


def is_intact(data: bytes) -> bool:
    """Whether a sealed file is what was written, to the bit."""
    seals = list(_SEAL.finditer(data))
    if len(seals) != 1:
        return False
    start, end = seals[0].span(1)
    actual = hashlib.sha256(data[:start])
    actual.update(b"0" * 64)
    actual.update(data[end:])
    return actual.hexdigest().encode() == seals[0].group(1)


def artifact_facts(folder: Path, paths: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size and hash of each file, by its path in the store's folder; missing files are left out.

    Raises:
        OSError: a file that cannot be read.
    """
    files = {path: folder / path for path in sorted(set(paths))}
    return {
        path: {"bytes": file.stat().st_size, "sha256": _hash(file)} for path, file in files.items() if file.is_file()
    }


def artifact_fault(file: Path, facts: Mapping[str, Any] | None) -> str | None:
    """Why a file is not the one that was written; None if it is.

    Args:
        facts: of `artifact_facts`; None for a part of an older version, whose files only have to exist.
    """
    try:
        size = file.stat().st_size if file.is_file() else None
        if size is None:
            return GONE
        if facts is None:
            return None if size else "the file is empty"
        if size != facts["bytes"]:
            return f"{size} bytes instead of {facts['bytes']}"
        return None if _hash(file) == facts["sha256"] else "other bytes than were written"
    except OSError as error:
        return error.strerror or str(error)


def _hash(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()


# Metadata that readers rely on: name -> (types, type of the items). Any other entry that JSON can hold is allowed.
_TYPES: Final[dict[str, tuple[tuple[type, ...], type | None]]] = {
    "analysis": ((str,), None),
    "artifacts": ((dict,), dict),  # path in the store -> bytes, sha256
    "commit": ((str, type(None)), None),
    "conditions": ((dict,), None),
    "faint_mixers": ((dict,), float),  # model -> share of its mixers' branches in the residual stream
    "disturbances": ((list,), dict),  # kind, amount, text
    "machine": ((dict,), None),
    "mixers": ((dict,), dict),  # mixer -> title, abbreviation, palette_slot
    "models": ((list,), str),
    "software": ((dict,), None),
    "status": ((str,), None),
    "warnings": ((list,), str),
}
_FIELDS: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    "artifacts": {"bytes": (int,), "sha256": (str,)},
    "disturbances": {"kind": (str,), "amount": (int, float), "text": (str,)},
    "mixers": {"title": (str,), "abbreviation": (str,), "palette_slot": (int, type(None))},
}


def metadata_fault(metadata: Any) -> str | None:
    """The first entry of the wrong type; None if there is none."""
    if not isinstance(metadata, dict):
        return f"{metadata!r}"[:80]
    for name in (name for name in _TYPES if name in metadata):
        value, (types, item_type) = metadata[name], _TYPES[name]
        items = list(value.values() if isinstance(value, dict) else value) if isinstance(value, dict | list) else []
        right = isinstance(value, types) and (item_type is None or all(isinstance(item, item_type) for item in items))
        if not right or not all(_has(item, _FIELDS.get(name, {})) for item in items):
            return f"{name} is {value!r}"[:80]
    return None


def _has(item: Any, fields: dict[str, tuple[type, ...]]) -> bool:
    return all(isinstance(item.get(field), types) for field, types in fields.items())
