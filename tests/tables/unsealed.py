"""Parts as older versions wrote them: without a seal, without checksums, without facts of their artifacts."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.tables.files import SEAL_KEY
from stmbench.tables.parts import METADATA_KEY


def unsealed(path: Path) -> pa.Table:
    """A part's table without what makes it a sealed one."""
    table = pq.read_table(path)
    stored = dict(table.schema.metadata)
    del stored[SEAL_KEY]
    metadata = json.loads(stored[METADATA_KEY])
    metadata.pop("artifacts", None)
    return table.replace_schema_metadata({**stored, METADATA_KEY: json.dumps(metadata)})


def unseal(path: Path) -> None:
    """Rewrite a part as an older version would have written it."""
    pq.write_table(unsealed(path), path, compression="zstd")
