"""What a path holds, told by what is there.

a Hugging Face data set saved to disk      dataset_dict.json or state.json in the folder
ImageNet's lists                           meta/val.txt beside val/; the list itself can be named too
shards                                     a .tar, a pattern (val-*.tar, val-{000..009}.tar), a folder of them
an ImageFolder tree                        a folder for each class, in a folder for each split or not
a flat folder                              images without labels, unless a table has them
"""

from __future__ import annotations

from pathlib import Path

from stmbench.data import folders, hugging_face, shards, tables
from stmbench.data.image_set import ImageSet
from stmbench.errors import ConfigError, InputError


def open_place(text: str, split: str, labels: Path | None = None) -> ImageSet | None:
    """The images at a path or pattern; None where there is nothing. `labels` is a table of the labels in a folder.

    Raises:
        InputError: something that is no image set, or a split that it does not have.
    """
    files = shards.matches(text)
    if files:
        if labels is not None:
            raise ConfigError("--labels with a folder of images", Path(text).name, "leave --labels out")
        return shards.open_shards(files, split)
    path = Path(text).expanduser()
    if not path.exists():
        return None
    path = path.resolve()  # '.' and 'x/..' have names too
    if path.is_file() and path.suffix == ".txt" and labels is None:
        return folders.open_list(path)
    if not path.is_dir():
        raise InputError("a folder, a .tar or a list of images (.txt)", path.name, "correct --dataset")
    if labels is not None:
        return tables.open_table(path, labels.expanduser(), split)
    if hugging_face.is_saved(path):
        return hugging_face.open_saved(path, split)
    lists = folders.lists_in(path)
    if lists:
        return folders.open_list(folders.pick_list(path, lists, split))
    files = shards.in_folder(path, split)
    if files:
        return shards.open_shards(files, split)
    return folders.open_folder(path, split)
