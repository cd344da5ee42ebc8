"""A small set in COCO's format, as the tests write it: sparse category ids, a crowd, an image without objects."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from tests.data.builders import picture

SIZES = {"000000000009.jpg": (48, 32), "000000000025.jpg": (30, 40), "000000000030.jpg": (36, 36)}  # (W, H)
CROWD = {"size": [32, 48], "counts": [64, 32, 1440]}  # the third column of pixels

COCO: dict[str, Any] = {
    "images": [
        {"id": number, "file_name": name, "width": width, "height": height}
        for number, (name, (width, height)) in zip((9, 25, 30), SIZES.items(), strict=True)
    ],
    "annotations": [
        {
            "id": 71,
            "image_id": 25,
            "category_id": 90,
            "bbox": [4.0, 6.0, 10.0, 20.0],
            "area": 200.0,
            "iscrowd": 0,
            "segmentation": [[4.0, 6.0, 14.0, 6.0, 14.0, 26.0, 4.0, 26.0]],
        },
        {
            "id": 5,
            "image_id": 9,
            "category_id": 3,
            "bbox": [10.5, 4.0, 38.25, 8.0],  # sticks out by less than a pixel
            "area": 300.0,
            "iscrowd": 0,
            "segmentation": [[11, 4, 48, 4, 48, 12], [11, 4, 20, 12, 11, 12]],
        },
        {
            "id": 6,
            "image_id": 9,
            "category_id": 90,
            "bbox": [2.0, 0.0, 1.0, 32.0],
            "area": 32.0,
            "iscrowd": 1,
            "segmentation": CROWD,
        },
    ],
    "categories": [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}],
}


def coco(**changes: Any) -> dict[str, Any]:
    """A copy of the annotations, with other parts."""
    return {**copy.deepcopy(COCO), **changes}


def one(**changes: Any) -> dict[str, Any]:
    """The annotations with the first one changed."""
    content = coco()
    content["annotations"][0].update(changes)
    return content


def write(root: Path, content: Any = None, *, file: str = "annotations/instances_val2017.json") -> Path:
    """The folder of the set, with its images in val2017/."""
    (root / "val2017").mkdir(parents=True, exist_ok=True)
    for number, (name, size) in enumerate(SIZES.items()):
        picture(number, size).save(root / "val2017" / name)
    (root / file).parent.mkdir(parents=True, exist_ok=True)
    text = content if isinstance(content, str) else json.dumps(COCO if content is None else content)
    (root / file).write_text(text)
    return root
