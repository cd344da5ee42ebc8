"""What a path holds, told by what is there.

a Hugging Face data set saved to disk      dataset_dict.json or state.json in the folder
ImageNet's lists                           meta/val.txt beside val/; the list itself can be named too
shards                                     a .tar, a pattern (val-*.tar, val-{000..009}.tar), a folder of them
an ImageFolder tree                        a folder for each class, in a folder for each split or not
a flat folder                              images without labels
"""

from __future__ import annotations

from pathlib import Path

from stmbench.data import folders, hugging_face, shards
from stmbench.data.image_set import ImageSet
from stmbench.errors import InputError


def open_place(text: str, split: str) -> ImageSet | None:
    """The images at a path or pattern; None where there is nothing.

    Raises:
        InputError: something that is no image set, or a split that it does not have.
    """
    files = shards.matches(text)
    if files:
        return shards.open_shards(files, split)
    path = Path(text).expanduser()
    if not path.exists():
        return None
    path = path.resolve()  # '.' and 'x/..' have names too
    if path.is_file() and path.suffix == ".txt":
        return folders.open_list(path)
    if not path.is_dir():
        raise InputError("a folder, a .tar or a list of images (.txt)", path.name, "correct --dataset")
    if hugging_face.is_saved(path):
        return hugging_face.open_saved(path, split)
    lists = folders.lists_in(path)
    if lists:
        return folders.open_list(folders.pick_list(path, lists, split))
    files = shards.in_folder(path, split)
    if files:
        return shards.open_shards(files, split)
    return folders.open_folder(path, split)
