"""Detection sets in COCO's format: a folder like COCO's own, or one file of annotations.

a folder   annotations/instances_val2017.json and val2017/; or annotations/val.json and val/; or, as some tools export
           it, val/_annotations.coco.json among the images
a file     its images lie in the first folder in which one of them is found: the one called like the file without
           `instances_` and `.json`, the one called like its split, images/, or the file's own; if that is annotations/,
           they lie beside it
"""

from __future__ import annotations

import functools
import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from stmbench.data.detection.coco_file import CocoFile, read_coco
from stmbench.data.detection.detection_set import DetectionSet, Masks, Objects
from stmbench.data.detection.run_lengths import counts_of, decoded, drawn_polygons
from stmbench.data.image_files import decode
from stmbench.data.image_set import KNOWN_SPLITS, Labels, digest, find_split
from stmbench.errors import ConfigError, ImageError, InputError

VERSION = "coco.v1"
ANNOTATIONS, EXPORTED = "annotations", "_annotations.coco.json"
_FILE = re.compile(rf"(?:instances_)?(?P<folder>(?P<split>{'|'.join(KNOWN_SPLITS)})(?:\d{{4}})?)\.json")
LOOKED_AT = 20  # images of which one has to be in a folder for it to be that of the images


class CocoSet(DetectionSet):
    """The images of a file of annotations, which are in a folder; or, if that is None, wherever a subclass has them."""

    def __init__(self, file: CocoFile, *, name: str, split: str, images: Path | None) -> None:
        self.name, self.split, self._file, self._images = name, split, file, images
        self.categories, self.category_ids = file.categories, file.category_ids
        self.has_masks = bool(file.segmentations) and all(code is not None for code in file.segmentations)
        self._bytes = [] if images is None else [_bytes(images / path) for path in file.names]
        missing = [self.title(index) for index, size in enumerate(self._bytes) if size < 0]
        listed = f"{', '.join(missing[:3])}{', ...' if len(missing) > 3 else ''}"
        absent = (f"{name}: {len(missing)} of {len(self)} image files are missing ({listed})",) if missing else ()
        self.remarks, self.damaged = (*file.remarks, *absent), file.damaged

    def __len__(self) -> int:
        return len(self._file.names)

    def size(self, index: int) -> tuple[int, int]:
        """(H, W) as the file of annotations says."""
        return self._file.sizes[index]

    def image_id(self, index: int) -> int:
        """The image's id in the file."""
        return self._file.image_ids[index]

    def title(self, index: int) -> str:
        """The image's path within the set."""
        path = Path(self._file.names[index])
        return path.name if path.is_absolute() else str(path)

    def image(self, index: int) -> Image.Image:
        """See `DetectionSet.image`."""
        assert self._images is not None
        picture = decode(self._images / self._file.names[index], self.title(index))
        height, width = self.size(index)
        if picture.size != (width, height):
            said = f"{width}x{height} in the annotations"
            raise ImageError(f"{self.title(index)}: {picture.width}x{picture.height} pixels, but {said}")
        return picture

    def objects(self, index: int) -> Objects:
        """The objects, with boxes that stick out clipped to the image."""
        rows, (height, width) = self._rows(index), self.size(index)
        boxes = self._file.boxes[rows].copy()
        boxes[:, 2:] += boxes[:, :2]
        return Objects(
            boxes=boxes.clip(0, (width, height, width, height)).astype(np.float32),
            labels=self._file.labels[rows],
            crowd=self._file.crowd[rows],
            area=self._file.area[rows].astype(np.float32),
            masks=functools.partial(self._masks, index) if self.has_masks else None,
        )

    def annotations(self, index: int, masks: bool) -> list[dict[str, Any]]:
        """The annotations with the numbers that the file has: boxes are not clipped, masks not drawn twice."""
        found, rows = super().annotations(index, False), self._rows(index)
        for annotation, row in zip(found, range(rows.start, rows.stop), strict=True):
            annotation["bbox"], annotation["area"] = self._file.boxes[row].tolist(), float(self._file.area[row])
            if masks:
                annotation["segmentation"] = self._code(row, self.size(index))
        return found

    def fingerprint(self) -> str:
        """Hash of the file of annotations, and of the images' sizes in bytes; images are not read."""
        return self._fingerprint

    @functools.cached_property
    def _fingerprint(self) -> str:
        return digest([VERSION, self.split, self._file.sha, *self._bytes])

    def labels_present(self) -> Labels:
        """See `DetectionSet.labels_present`."""
        return np.unique(self._file.labels)

    def annotated(self) -> NDArray[np.bool_]:
        """See `DetectionSet.annotated`."""
        before = np.r_[0, np.cumsum(~self._file.crowd)]
        return np.asarray(np.diff(before[self._file.starts]) > 0)

    def _rows(self, index: int) -> slice:
        return slice(int(self._file.starts[index]), int(self._file.starts[index + 1]))

    def _code(self, row: int, size: tuple[int, int]) -> dict[str, Any]:
        """Run lengths of an annotation."""
        code = self._file.segmentations[row]
        if code is None:
            raise ConfigError("a set with a mask for every object", f"{self.name}, which has not", "take boxes")
        return drawn_polygons(code, size) if isinstance(code, list) else {"size": list(size), "counts": code.tolist()}

    def _masks(self, index: int) -> Masks:
        rows, size = self._rows(index), self.size(index)
        masks = np.zeros((rows.stop - rows.start, *size), dtype=np.bool_)
        for number, row in enumerate(range(rows.start, rows.stop)):
            counts = counts_of(self._code(row, size)["counts"], size)
            assert counts is not None  # the file was checked, and polygons are drawn to the image's size
            masks[number] = decoded(counts, size)
        return masks


def _bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except (OSError, ValueError):  # a name that no file can have
        return -1


def open_coco(path: Path, split: str, limit_corrupt: int) -> CocoSet:
    """The set of a folder or a file, see the top.

    Raises:
        InputError: no annotations, not COCO's format, no images, or too many corrupt annotations. ConfigError: a split
            that is not there.
    """
    if path.is_dir():
        files = annotation_files(path)
        if not files:
            expected = f"{ANNOTATIONS}/instances_val.json, or {EXPORTED} in a folder for each split"
            raise InputError(expected, f"none in {path.name!r}", "put it there, or give the path of the file")
        found = find_split(split, files, path.name)
        if len(files[found]) > 1:
            got = ", ".join(file.name for file in files[found])
            raise InputError(f"one file of annotations for {found}", got, "give the path of one of them")
        file, name = files[found][0], path.name
    else:
        file, match = path, _FILE.fullmatch(path.name)
        known = match["split"] if match else path.parent.name if path.name == EXPORTED else "test"
        found = find_split(split, [known], f"{path.name}, a single file")
        if known == "test" and match is None:
            found = "all"
        name = path.stem if match is None else _above(path).name
    content = within_limit(read_coco(file), limit_corrupt)
    return CocoSet(content, name=name, split=found, images=_images_of(file, content))


def within_limit(content: CocoFile, limit_corrupt: int) -> CocoFile:
    """The content. Raises InputError where more annotations than the limit are corrupt."""
    if len(content.damaged) > limit_corrupt:
        expected = f"at most {limit_corrupt} corrupt annotations (--limit-corrupt)"
        got = f"{len(content.damaged)}: {'; '.join(content.damaged[:3])}"
        raise InputError(expected, got, "correct the annotations, or raise the limit")
    return content


def annotation_files(folder: Path) -> dict[str, list[Path]]:
    """split -> files of annotations in a folder."""
    found: dict[str, list[Path]] = {}
    for file in sorted((folder / ANNOTATIONS).glob("*.json")):
        if match := _FILE.fullmatch(file.name):
            found.setdefault(match["split"], []).append(file)
    for split in KNOWN_SPLITS:
        if (file := folder / split / EXPORTED).is_file():
            found.setdefault(split, []).append(file)
    return found


def _above(file: Path) -> Path:
    """The folder of a set, by a file of annotations in it."""
    return file.parent.parent if file.parent.name == ANNOTATIONS else file.parent


def _images_of(file: Path, content: CocoFile) -> Path:
    """The folder of the images. Raises InputError where not one of the first images is in any."""
    match, root = _FILE.fullmatch(file.name), _above(file)
    names = [match["folder"], match["split"]] if match else [file.stem]
    folders = [root / name for name in names] + [root / "images" / name for name in names] + [root / "images", root]
    folders.append(file.parent)
    for folder in dict.fromkeys(folders):
        if any(_bytes(folder / name) >= 0 for name in content.names[:LOOKED_AT]):
            return folder
    looked = ", ".join(dict.fromkeys("./" if place == root else f"{place.relative_to(root)}/" for place in folders))
    got = f"no {content.names[0]} in any of {looked} of {root.name!r}"
    raise InputError(f"the images of {file.name}", got, "put their folder there")
