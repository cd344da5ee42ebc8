"""A made-up store of many parts: how long it takes to read, to ask what is done, and to merge.

    python benchmarks/stores.py [FOLDER] [--parts 5000] [--rounds 3]

Writes the store to FOLDER (default: a temporary folder that is removed) or takes the one that is there; what is merged
is a copy. Reading is timed beside the form that it had before, every column of one Parquet file at a time in eight
threads, in turn; what is printed are medians of wall and processor time, and the latter's ratio, which other programs
disturb less. Leaves with 1 where reading takes more than 5 seconds of processor time.
"""

from __future__ import annotations

import argparse
import datetime
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from stmbench.measure.environment import machine_facts, software_facts
from stmbench.tables import Row, Store, check, frame_of, read, unit_key
from stmbench.tables.files import is_intact, metadata_fault
from stmbench.tables.parts import ARROW_SCHEMA, METADATA_KEY, part_bytes, to_frame

LIMIT = 5.0  # seconds of processor time to read 5,000 parts
START = datetime.datetime(2026, 1, 1, tzinfo=datetime.timezone.utc)
MIXERS = ("halo_attn", "sr_attn", "sw_attn", "dw_conv", "dcnv3")
#           analysis      metric         unit  rows
ANALYSES = (
    ("eval", "accuracy", "1", 12),
    ("invariance", "consistency", "1", 40),
    ("robustness", "robust_accuracy", "1", 16),
    ("erf", "erf_size", "px", 8),
    ("profile", "throughput", "images/s", 60),
)


def write_store(folder: Path, count: int) -> Store:
    """A store of `count` parts, each of 8 to 60 rows with the metadata of a real unit of work."""
    store = Store(folder).require_writable()
    facts = {"machine": machine_facts(), "software": software_facts(), "commit": "0" * 40, "status": "ok"}
    for number in range(count):
        analysis, rows = _rows(number)
        model = rows[0].model
        mixer = {"title": rows[0].mixer, "abbreviation": rows[0].mixer, "palette_slot": number % 5}
        metadata: dict[str, Any] = {
            **facts,
            "analysis": analysis,
            "models": [model],
            "mixers": {rows[0].mixer: mixer},
            "conditions": {"dataset": rows[0].dataset, "num_images": 512, "resolution": "32"},
            "warnings": [],
            "disturbances": [],
            "artifacts": {},
        }
        path = store.parts / f"{unit_key({'unit': number})}.parquet"
        path.write_bytes(
            part_bytes(pa.Table.from_pandas(frame_of(rows), ARROW_SCHEMA, preserve_index=False), metadata)
        )  # without waiting for the disk
    return store


def _rows(number: int) -> tuple[str, list[Row]]:
    draw = np.random.default_rng(number)
    analysis, metric, unit, count = ANALYSES[number % len(ANALYSES)]
    mixer = MIXERS[number // len(ANALYSES) % len(MIXERS)]
    seed = number // 25
    rows = [
        Row(
            run_id=f"20260101T{number // 60 % 24:02d}{number % 60:02d}00-{number % 997:04x}",
            created_utc=START + datetime.timedelta(seconds=number),
            kind="raw" if place else "summary",
            analysis=analysis,
            definition=f"{analysis}.v1",
            model=f"unified_{mixer}_nano",
            architecture="unified",
            mixer=mixer,
            scale="nano",
            weights=f"trained:digits.v1-seed{seed}:{number % 997:08x}",
            seed=seed,
            dataset="digits:3f1b5c9a",
            split="test",
            num_images=512,
            device="cpu",
            dtype="fp32",
            compile=False,
            resolution=32,
            batch_size=64,
            level=float(place),
            sample=place,
            metric=metric,
            unit=unit,
            value=float(draw.random()),
            ci_low=0.0,
            ci_high=1.0,
            num_samples=512,
        )
        for place in range(count)
    ]
    return analysis, rows


def read_before(folder: Path) -> int:
    """The rows of a store as they were read before."""

    def part(path: Path) -> tuple[pa.Table, Any]:
        data = path.read_bytes()
        assert is_intact(data)
        file = pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True)
        metadata = json.loads(file.schema_arrow.metadata[METADATA_KEY])
        assert metadata_fault(metadata) is None
        return file.read(use_threads=False).replace_schema_metadata(None), metadata

    with ThreadPoolExecutor(8) as pool:
        parts = list(pool.map(part, sorted((folder / "parts").glob("*.parquet"))))
    frame = to_frame(pa.concat_tables([table for table, _ in parts]))
    return len(check(frame.sort_values("created_utc", kind="stable", ignore_index=True)))


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """Wall and processor time of one call."""
    start = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start[0], time.process_time() - start[1]


def main() -> int:
    """Print a line for each operation; 1 where reading is too slow."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path)
    parser.add_argument("--parts", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = given.folder or Path(scratch)
        store = Store(folder) if (folder / "parts").is_dir() else write_store(folder, given.parts)
        merged = Store(Path(scratch) / "merged")
        shutil.copytree(folder, merged.folder)
        print(f"merged in {seconds(merged.compact)[0]:.1f} s, again in {seconds(merged.compact)[0]:.1f} s")
        few = ("model", "metric", "status", "value")
        cases: dict[str, Callable[[], object]] = {
            "read, before": lambda: read_before(folder),
            "read": lambda: read(folder),
            "read, four columns": lambda: store.read(columns=few),
            "read, merged": lambda: read(merged.folder),
            "keys": store.keys,
            "keys, merged": merged.keys,
        }
        times: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
        for _ in range(given.rounds):
            for name, work in cases.items():
                times[name].append(seconds(work))
    found = {name: [statistics.median(kind) for kind in zip(*each, strict=True)] for name, each in times.items()}
    for name, (wall, processor) in found.items():
        ratio = processor / found["read, before"][1]
        print(f"{name:<20} {wall:6.2f} s, {processor:6.2f} s of processor time, {ratio:5.2f} of before")
    return int(found["read"][1] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
