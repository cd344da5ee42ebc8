"""A part's metadata as it is found in the footer: the same as a decoder of Parquet gives, or nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from stmbench.tables import Store, parts
from stmbench.tables.files import sealed
from stmbench.tables.footers import texts_in_footer
from stmbench.tables.parts import ARROW_SCHEMA, METADATA_KEY, VERSION_KEY
from tests.tables.frames import failed_row

KEYS = [VERSION_KEY, METADATA_KEY]
MARK = "\x18\x11stmbench.metadata\x18\x05wrong"  # what comes before the value, here in a row and in the value


@pytest.mark.parametrize("facts", [{}, {"commit": "é" * 90}, {"x": MARK, "long": "a" * 40_000}])
def test_the_texts_are_what_a_decoder_finds(tmp_path: Path, facts: dict[str, Any]) -> None:
    store = Store(tmp_path)
    path = store.write("k", [failed_row(reason=MARK)], metadata=facts)
    found = texts_in_footer(path.read_bytes(), ARROW_SCHEMA, KEYS)
    decoded = pq.ParquetFile(path).schema_arrow.metadata
    assert found == [decoded[key] for key in KEYS]
    assert store.metadata("k") == {**facts, "artifacts": {}} == json.loads(decoded[METADATA_KEY])


def test_a_file_that_is_damaged_or_of_other_columns_has_to_be_decoded(tmp_path: Path) -> None:
    data = Store(tmp_path).write("k", [failed_row()], metadata={}).read_bytes()
    assert texts_in_footer(data, ARROW_SCHEMA, KEYS) is not None
    assert texts_in_footer(data, ARROW_SCHEMA, [*KEYS, b"other"]) is None
    for place in range(0, len(data), 97):
        changed = bytearray(data)
        changed[place] ^= 1
        assert texts_in_footer(bytes(changed), ARROW_SCHEMA, KEYS) is None, place
    for schema in (ARROW_SCHEMA.remove(3), ARROW_SCHEMA.append(pa.field("more", pa.int64()))):
        other = schema.empty_table().replace_schema_metadata({VERSION_KEY: b"3", METADATA_KEY: b"{}"})
        assert texts_in_footer(sealed(other), ARROW_SCHEMA, KEYS) is None


def test_a_part_of_this_version_is_read_without_decoding_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Store(tmp_path)
    store.write("k", [failed_row()], metadata={"status": "ok"})
    monkeypatch.setattr(parts, "_open", None)
    assert store.has("k")
    assert store.keys(status="ok") == ["k"]
