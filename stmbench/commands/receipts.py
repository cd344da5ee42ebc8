"""The receipt of a run that did everything: the same command again then has nothing to do, and need not find that out.

Planning an experiment of plug-ins and looking into its store takes model code, and drawing the figures again takes as
long as drawing them. So a run that left nothing undone leaves `receipt.json` in its store: what it was asked for, the
code that it ran with, the files that the store then held, and what it showed. While all of that is as it was, the next
call shows it again. Whatever differs, or cannot be told, is a reason to do everything properly.

| what must be as it was         | by                                                                         |
|--------------------------------|----------------------------------------------------------------------------|
| the call                       | its options, with files and folders by their paths                         |
| the experiment and plug-ins    | SHA-256 of their files; name, size and time of a folder's weights          |
| stmbench                       | name, size and time of each of its files, and of the published tables      |
| Python and its packages        | version and path; names and times of the installed distributions           |
| compiled kernels               | STMBENCH_KERNELS, the compiler, their folder                               |
| the machine                    | its identifier, as it is in the rows; a GPU, which only torch knows, is a doubt |
| parts and their arrays         | SHA-256                                                                    |
| trainings, figures and reports | name, size and time                                                        |
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from stmbench.bundled import PACKAGE, bundled
from stmbench.commands import terminal
from stmbench.errors import StmbenchError
from stmbench.kernels import library

if TYPE_CHECKING:
    from stmbench.commands.run_output import RunOutput

NAME: Final = "receipt.json"
LARGEST: Final = 2**26  # bytes of parts: hashing more takes as long as what it saves
Facts = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What a run is asked for, and all that it depends on besides its store.

    Attributes:
        call: the options of the command, as JSON holds them.
        files: that the experiment is read from.
        plugins: files and folders of code.
        weights: a folder of checkpoints.
    """

    call: Facts
    files: Sequence[Path]
    plugins: Sequence[Path] = ()
    weights: Path | None = None

    def facts(self) -> Facts | None:
        """As JSON holds them; None where a part of them cannot be told without torch."""
        from stmbench.architectures.listing import none_installed
        from stmbench.measure.environment import machine_facts, machine_id, may_have_gpu
        from stmbench.plugins import carried_files

        if may_have_gpu() or not none_installed():
            return None
        own = {place: path for plugin in self.plugins for place, path in carried_files(plugin)[1].items()}
        return {
            "call": self.call,
            "working_folder": os.getcwd(),
            "files": {str(file.resolve()): _digest(file) for file in self.files},
            "plugins": {f"{place} {path}": _digest(path) for place, path in own.items()},
            "weights": None if self.weights is None or not self.weights.is_dir() else _hashed(_marks(self.weights)),
            "stmbench": _hashed(_marks(PACKAGE)),
            "published": _hashed(_marks(bundled("published"))),
            "python": [sys.version, sys.executable],
            "packages": _hashed(_distributions()),
            "kernels": [os.environ.get(library.VARIABLE), library.compiler(), str(library.kept_in())],
            "machine": machine_id(machine_facts()),
        }


def same_as_before(folder: Path, call: Facts) -> Facts | None:
    """The receipt in a store's folder, if everything is as it was when the same call did it; None for any doubt."""
    try:
        kept: Any = json.loads((folder / NAME).read_text(encoding="utf-8"))
        places = {name: [Path(place) for place in kept[name]] for name in ("files", "plugins", "weights")}
        request = Request(
            call=call,
            files=places["files"],
            plugins=places["plugins"],
            weights=next(iter(places["weights"]), None),
        )
        if kept["facts"] != request.facts() or kept["store"] != _store(folder):
            return None
        return kept if kept["shown"]["width"] <= _width() else None
    except (OSError, ValueError, LookupError, TypeError, AttributeError, StmbenchError):
        return None  # one of another version, or damaged


def show_again(receipt: Facts) -> None:
    """What the run showed that left the receipt, as this one would."""
    from rich.console import Console
    from rich.text import Text

    shown, notes = receipt["shown"], Console(stderr=True)
    terminal.echo(shown["styled" if terminal.out().isatty() else "plain"], nl=False)
    for text, style in shown["notes"]:
        notes.print(Text(text, style=style), soft_wrap=True)


def show_plan_again(receipt: Facts, workers: int) -> None:
    """The plan of an experiment of which everything is done."""
    from stmbench.commands.plan_output import PlanLine, plan_table

    plan = receipt["plan"]
    lines = [
        PlanLine(title=title, models=tuple(models), done=True, seconds=None, missing=None)
        for title, models in plan["tasks"]
    ]
    table = plan_table(plan["heading"], lines, 0.0, workers, [(name, text) for name, text in plan["about"]])
    terminal.console(terminal.TABLE_WIDTH).print(table)


def leave(folder: Path, request: Request, before: Facts | None, output: RunOutput) -> None:
    """Write the receipt of a run that did everything; none for what a later call could not be sure of.

    Args:
        before: the facts of the request when the run began; code may have been edited since.
    """
    from stmbench.tables.files import write_file

    (folder / NAME).unlink(missing_ok=True)
    if before is None or not _is_sure(output) or before != request.facts() or (store := _store(folder)) is None:
        return
    plan = {
        "heading": output.experiment.heading,
        "about": output.experiment.about,
        "tasks": [(task.title, task.models) for task in output.tasks],
    }
    receipt = {
        "facts": before,
        "files": [str(file.absolute()) for file in request.files],  # a link may lead elsewhere by then
        "plugins": list(map(str, request.plugins)),
        "weights": [] if request.weights is None else [str(request.weights)],
        "store": store,
        "shown": output.shown,
        "plan": plan,
    }
    write_file(folder / NAME, json.dumps(receipt))


def _is_sure(output: RunOutput) -> bool:
    """Whether the run read nothing but what comes with stmbench, and files that are compared."""
    from stmbench.data.sets import EMBEDDED

    sets = {run.dataset for task in output.tasks for run in task.runs}
    sets |= {task.dataset for task in output.tasks if task.step is not None and task.step.kind.needs_images}
    given = [value for task in output.tasks if task.step is not None for value in task.step.given.items()]
    is_embedded = all(name.partition("[")[0] in EMBEDDED for name in sets)
    reads_no_file = not any(name in ("classes", "labels") and value is not None for name, value in given)
    on_cpu = all(task.device == "cpu" and task.missing is None for task in output.tasks)
    return is_embedded and reads_no_file and on_cpu and not output.repaired


def _store(folder: Path) -> Facts | None:
    """The files of a store: parts and arrays by their contents, others by size and time; None for too large a store."""
    parts = sorted(path for path in (folder / "parts").iterdir() if path.is_file())
    if sum(path.stat().st_size for path in parts) > LARGEST:
        return None
    others = {name: mark for name, mark in _marks(folder) if name != NAME and not name.startswith("parts/")}
    return {"parts": {path.name: _digest(path) for path in parts}, "others": others}


def _marks(folder: Path) -> Iterator[tuple[str, list[int]]]:
    """(relative path, [size, time]) of all files below a folder that are not Python's own copies."""
    waiting = [(str(folder), "")]
    while waiting:
        place, above = waiting.pop()
        with os.scandir(place) as entries:
            for entry in sorted(entries, key=lambda entry: entry.name):
                name = f"{above}{entry.name}"
                if entry.is_dir():
                    if entry.name != "__pycache__":
                        waiting.append((entry.path, f"{name}/"))
                    continue
                facts = entry.stat()
                yield name, [facts.st_size, facts.st_mtime_ns]


def _distributions() -> Iterator[tuple[str, int]]:
    """Places where packages are found, and the distributions in them: a new version has a folder of another name."""
    for place in sys.path:
        yield place, 0
        if os.path.isdir(place):
            with os.scandir(place) as entries:
                found = [(entry.name, entry.stat().st_mtime_ns) for entry in entries if _is_distribution(entry.name)]
            yield from sorted(found)


def _is_distribution(name: str) -> bool:
    return name.endswith((".dist-info", ".egg-info", ".egg-link", ".pth"))


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _hashed(marks: Iterator[Any]) -> str:
    return hashlib.sha256(json.dumps(list(marks)).encode()).hexdigest()


def _width() -> int:
    """Columns of standard output, in which tables have to fit."""
    return shutil.get_terminal_size().columns if terminal.out().isatty() else terminal.TABLE_WIDTH
