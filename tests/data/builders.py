"""Small image sets on disk, in every layout: what the tests of the loaders read back."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

BROKEN = b"\x89PNG\r\n\x1a\nnothing more"


def picture(number: int, size: tuple[int, int] = (40, 32)) -> Image.Image:
    """A picture (width, height) of one colour, told apart by `number`."""
    return Image.new("RGB", size, (number * 20 % 256, number * 7 % 256, 200))


def encoded(number: int, suffix: str = "png") -> bytes:
    """`picture` as a file's content; PNG gives back the same pixels."""
    file = io.BytesIO()
    picture(number).save(file, {"jpg": "jpeg"}.get(suffix, suffix))
    return file.getvalue()


def tree(root: Path, classes: Mapping[str, int]) -> Path:
    """A folder for each class with so many pictures, numbered through all classes."""
    number = 0
    for name, count in classes.items():
        (root / name).mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            (root / name / f"{number:03}.png").write_bytes(encoded(number))
            number += 1
    return root


def imagenet(root: Path, labels: Sequence[int], split: str = "val") -> Path:
    """ImageNet's layout of a held-out split: val/ and meta/val.txt."""
    (root / split).mkdir(parents=True)
    (root / "meta").mkdir(exist_ok=True)
    lines = []
    for number, label in enumerate(labels):
        (root / split / f"ILSVRC2012_{split}_{number:08}.JPEG").write_bytes(encoded(number, "jpg"))
        lines.append(f"ILSVRC2012_{split}_{number:08}.JPEG {label}\n")
    (root / "meta" / f"{split}.txt").write_text("".join(lines))
    return root


def tar(file: Path, members: Iterable[tuple[str, bytes]]) -> Path:
    """A plain tar file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file


def webdataset(file: Path, labels: Sequence[int | None], *, first: int = 0) -> Path:
    """A WebDataset shard: key.png, key.cls (unless None) and key.json for each label."""
    members = []
    for number, label in enumerate(labels, start=first):
        members.append((f"{number:06}.png", encoded(number)))
        members += [] if label is None else [(f"{number:06}.cls", str(label).encode())]
        members.append((f"{number:06}.json", b"{}"))
    return tar(file, members)


def saved(folder: Path, labels: Sequence[int] | None, *, names: Sequence[str] | None = None, shards: int = 1) -> Path:
    """What `datasets.Dataset.save_to_disk` writes: Arrow streams, state.json and dataset_info.json."""
    folder.mkdir(parents=True)
    count = len(labels) if labels is not None else 4
    images = [{"bytes": encoded(number), "path": None} for number in range(count)]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    columns: dict[str, Any] = {"id": pa.array(range(count)), "picture": pa.array(images, kind)}
    features: dict[str, Any] = {"id": {"dtype": "int64", "_type": "Value"}, "picture": {"_type": "Image"}}
    if labels is not None:
        columns["label"] = pa.array(labels, pa.int64())
        features["label"] = {"dtype": "int64", "_type": "Value"}
        if names is not None:
            features["label"] = {"names": list(names), "_type": "ClassLabel"}
    table = pa.table(columns)
    files = [f"data-{number:05}-of-{shards:05}.arrow" for number in range(shards)]
    bounds = np.linspace(0, count, shards + 1).astype(int)
    for file, start, end in zip(files, bounds[:-1], bounds[1:], strict=True):
        with pa.OSFile(str(folder / file), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table.slice(start, end - start))
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": file} for file in files]}))
    (folder / "dataset_info.json").write_text(json.dumps({"features": features}))
    return folder
