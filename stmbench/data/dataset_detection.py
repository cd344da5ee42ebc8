"""Detects the kind of data set at a path from its contents.

a Hugging Face data set saved to disk      dataset_dict.json or state.json in the folder
ImageNet's lists                           meta/val.txt alongside val/; the path of the list works too
shards                                     a .tar, a pattern (val-*.tar, val-{000..009}.tar), a folder of them
an ImageFolder tree                        a folder per class, optionally within a folder per split
a flat folder                              images without labels, unless there is a label table
"""

from __future__ import annotations

from pathlib import Path

from stmbench.data import hugging_face, image_folders, label_table, tar_shards
from stmbench.data.image_set import ImageSet
from stmbench.errors import ConfigError, InputError


def open_path(text: str, split: str, labels: Path | None = None) -> ImageSet | None:
    """The image set at a path or pattern; None if nothing is there. `labels` is a label table for a folder.

    Raises:
        InputError: not an image set, or it does not have the split.
    """
    files = tar_shards.matching_shards(text)
    if files:
        if labels is not None:
            raise ConfigError("--labels with a folder of images", Path(text).name, "leave --labels out")
        return tar_shards.open_shards(files, split)
    path = Path(text).expanduser()
    if not path.exists():
        return None
    path = path.resolve()  # gives '.' and 'x/..' a name
    if path.is_file() and path.suffix == ".txt" and labels is None:
        return image_folders.open_list(path)
    if not path.is_dir():
        raise InputError("a folder, a .tar or a list of images (.txt)", path.name, "correct --dataset")
    if labels is not None:
        return label_table.open_table(path, labels.expanduser(), split)
    if hugging_face.is_saved_dataset(path):
        return hugging_face.open_saved(path, split)
    lists = image_folders.lists_in(path)
    if lists:
        return image_folders.open_list(image_folders.pick_list(path, lists, split))
    files = tar_shards.shards_in_folder(path, split)
    if files:
        return tar_shards.open_shards(files, split)
    return image_folders.open_folder(path, split)
