"""What was compared and on what: names, data, machine, software, commits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from stmbench.errors import TableError
from stmbench.figures.plot_data import labels, shared_options
from stmbench.tables import read
from stmbench.tables.attributes import OUTPUTS
from stmbench.tables.labels import is_random, listed, recipe_and_seed
from stmbench.tables.rows import SharedDict, SharedList


def read_stores(folders: Sequence[str | Path]) -> pd.DataFrame:
    """All rows of the stores, one after the other, with the attrs of all of them; a folder named twice counts once.

    `artifact` is made a path that can be opened from here. `attrs["stores"]` are the folders as they were named.

    Raises:
        TableError: a folder that is no store, a part of another schema version (with the store's name), rows that
            break the schema, or stores without a single row.
    """
    named: dict[Path, str] = {}
    for folder in folders:
        named.setdefault(Path(folder).resolve(), str(folder))
    frames = [placed(_read(name), Path(name)) for name in named.values()]
    filled = [frame for frame in frames if len(frame)]
    if not filled:
        unreadable = [part for frame in frames for part in frame.attrs["unreadable"]]
        got = f"none in {', '.join(named.values())}"
        if unreadable:
            first = unreadable[0]
            got += f" (files that cannot be read: {len(unreadable)}, such as {first.part}, {first.reason})"
        raise TableError("rows to report", got, "measure something into the store first, such as `stmbench profile`")
    whole = pd.concat(filled, ignore_index=True)
    whole.attrs.update(_merged(frame.attrs for frame in frames))
    whole.attrs["stores"] = list(named.values())
    return whole


def placed(frame: pd.DataFrame, folder: Path) -> pd.DataFrame:
    """The frame of a store with artifacts as absolute paths, so that they are found from anywhere."""
    here = frame.copy()
    here.attrs = dict(frame.attrs)
    here["artifact"] = (str(folder.resolve()) + "/" + frame["artifact"]).astype(frame["artifact"].dtype)
    return here


def _read(folder: str) -> pd.DataFrame:
    try:
        return read(folder)
    except TableError as error:
        if folder in str(error):
            raise
        raise TableError(error.expected, f"{error.got} (store {folder})", error.remedy) from error


def _merged(attrs: Iterable[Mapping[Any, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"mixers": {}, "commits": {}, "machines": [], "software": [], "warnings": [],
                             "machine_of_run": {}, "faint_mixers": {}, "trainings": {}, "unreadable": [],
                             OUTPUTS: {}}  # fmt: skip
    for one in attrs:
        found["mixers"].update(one.get("mixers", {}))
        for name in ("faint_mixers", "trainings", OUTPUTS):
            found[name].update(one.get(name, {}))
        for commit, rows in one.get("commits", {}).items():
            found["commits"][commit] = found["commits"].get(commit, 0) + rows
        for name in ("machines", "software", "warnings", "unreadable"):
            found[name] += [value for value in one.get(name, []) if value not in found[name]]
        for run, place in one.get("machine_of_run", {}).items():
            found["machine_of_run"][run] = found["machines"].index(one["machines"][place])
    shared = {name: SharedDict(value) for name, value in found.items() if isinstance(value, dict)}
    return {**shared, **{name: SharedList(value) for name, value in found.items() if isinstance(value, list)}}


MOST = 8  # names in a line, beyond which they are counted


def facts(frame: pd.DataFrame) -> tuple[tuple[str, str], ...]:
    """(name, text), those that are known. `frame.attrs` are a store's, and may hold `command`, `stores`, and what an
    experiment says `about` itself."""
    times = frame["created_utc"]
    found = [
        *frame.attrs.get("about", ()),
        ("Models", _models(frame)),
        ("Data", _few(str(name).partition(":")[0] for name in frame["dataset"].dropna().unique())),
        ("Weights", _weights(frame)),
        ("Measured", _period(times.min(), times.max()) if len(frame) else ""),
        ("Machine", _machines(frame.attrs.get("machines", []))),
    ]
    for name, column, suffix in (("Device", "device", ""), ("Precision", "dtype", ""), ("Input", "resolution", " px")):
        found.append((name, _few(f"{value}{suffix}" for value in frame[column].dropna().unique())))
    found += [
        ("Protocols", _few(map(str, frame["definition"].dropna().unique()))),
        ("Software", _software(frame.attrs.get("software", []))),
        ("Commit", _commits(frame)),
        ("Stores", ", ".join(frame.attrs.get("stores", []))),
        ("Command", str(frame.attrs.get("command") or "")),
    ]
    return tuple((name, text) for name, text in found if text)


def samples_text(rows: pd.DataFrame) -> str:
    """What a figure's values stand on, as far as rows and store say: 'Data: digits, test, 355 images, 32 px, 10
    classes. Weights: trained (digits.e12, 3 seeds).'"""
    rows = rows[rows["value"].notna() & rows["model"].notna()]
    # data that a figure's summaries are of; costs are counted and timed on noise
    summaries = rows[(rows["kind"] == "summary") & ~rows["dataset"].fillna("noise").str.startswith("noise")]
    words = []
    for column, text in (("dataset", "{}"), ("split", "{}"), ("num_images", "{} images"),
                         ("resolution", "{} px")):  # fmt: skip
        found = rows if column == "resolution" else summaries
        values = list(dict.fromkeys(str(value).partition(":")[0] for value in found[column].dropna().unique()))
        words += [text.format(" or ".join(values))] if 0 < len(values) <= 2 else []
    words += _classes(rows)
    weights = _few(_trained(rows["weights"].dropna().unique()))
    data = f"{'Data' if len(summaries) else 'Input'}: {', '.join(words)}." if words else ""
    return f"{data} Weights: {weights}.".lstrip() if weights else data


def _classes(rows: pd.DataFrame) -> list[str]:
    """'10 classes': outputs of the models' heads, where the store knows them (older ones do not)."""
    of_heads: Mapping[Any, int] = rows.attrs.get(OUTPUTS, {})
    named = rows[["analysis", "model", "weights"]].drop_duplicates().itertuples(index=False, name=None)
    counts = dict.fromkeys(f"{of_heads[key]:,}" for key in named if key in of_heads)
    return [f"{' or '.join(counts)} classes"] if 0 < len(counts) <= 2 else []


def _trained(labels: Iterable[str]) -> list[str]:
    """'trained (digits.e12, 3 seeds)' or 'never trained (random, 1 seed)', of each source of weights."""
    seeds: dict[str, set[str]] = {}
    for label in labels:
        source, seed = recipe_and_seed(label)
        seeds.setdefault("" if is_random(label) else source, set()).add(seed)
    found = []
    for source, of_source in seeds.items():
        count = f", {len(of_source)} {'seed' if len(of_source) == 1 else 'seeds'}" if "" not in of_source else ""
        trained = "trained" if source else "never trained"
        found.append(source if source.startswith("given:") else f"{trained} ({source or 'random'}{count})")
    return found


def _models(frame: pd.DataFrame) -> str:
    names = list(labels(frame).values())
    scales = list(frame["scale"].dropna().unique())
    at = f", scale {scales[0]}" if len(scales) == 1 else ""
    at += "".join(f", {option}" for option in shared_options(map(str, frame["model"].dropna().unique())))
    return f"{_few(names)}{at}" if names else ""


def _weights(frame: pd.DataFrame) -> str:
    values = list(map(str, frame["weights"].dropna().unique()))
    random = [value for value in values if is_random(value)]
    if values and len(random) == len(values):
        return f"{_few(values)} (never trained: cost hardly depends on them, quality does)"
    named = _few(_sources([value for value in values if value not in random]))
    return f"{named}; {listed(random)} (never trained)" if random else named


def _sources(values: list[str]) -> list[str]:
    """Labels of checkpoints; of several files from one source (`digits.e12.s0:1a2b`) the source, and how many."""
    sources = Counter(value.rpartition(":")[0] for value in values)
    found = []
    for value in values:
        source = value.rpartition(":")[0]
        found.append(value if sources[source] == 1 or not source else f"{source} ({sources[source]} checkpoints)")
    return list(dict.fromkeys(found))


def _few(values: Any) -> str:
    found = list(dict.fromkeys(values))
    more = f" and {len(found) - MOST} more" if len(found) > MOST else ""
    return ", ".join(found[:MOST]) + more


def _machines(machines: Sequence[Any]) -> str:
    """The machine; several by the numbers that tables and figures call them."""
    words = [_machine(machine) for machine in machines]
    return "; ".join(f"{number}: {said}" for number, said in enumerate(words, 1)) if len(words) > 1 else "".join(words)


def _machine(machine: Any) -> str:
    if not isinstance(machine, Mapping):
        return str(machine)
    words = [str(machine[name]) for name in ("cpu",) if machine.get(name)]
    words += [f"{machine['logical_cores']} logical cores"] if machine.get("logical_cores") else []
    words += [f"{machine['memory_gib']} GiB"] if machine.get("memory_gib") else []
    words += [str(gpu) for gpu in machine.get("gpus") or []]
    words += [str(machine["system"])] if machine.get("system") else []
    return ", ".join(words)


def _software(listed_: list[Mapping[str, Any]]) -> str:
    names = ("stmbench", "python", "torch", "torchvision", "timm", "cuda")
    words = [", ".join(f"{name} {one[name]}" for name in names if one.get(name)) for one in listed_]
    return "; ".join(dict.fromkeys(words))


def _commits(frame: pd.DataFrame) -> str:
    commits = [str(commit)[:12] for commit in frame.attrs.get("commits", {}) if commit != "unknown"]
    if commits and any(one.get("dirty") for one in frame.attrs.get("software", [])):
        commits[-1] += " with uncommitted changes"
    return _few(commits)


def _period(start: pd.Timestamp, end: pd.Timestamp) -> str:
    if end - start < pd.Timedelta("1min"):
        return f"{start:%Y-%m-%d %H:%M} UTC"
    same_day = start.date() == end.date()
    return f"{start:%Y-%m-%d %H:%M} to {end:{'%H:%M' if same_day else '%Y-%m-%d %H:%M'}} UTC"
