"""`stmbench study`: is this mixer better than others, in what, and at what price?"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from stmbench.commands import options, session, values
from stmbench.commands.addresses import shown, store_folder

app = typer.Typer(add_completion=False)


@app.command(
    epilog="stmbench study my_mixer.py --against dw_conv,halo_attn --budget 20m. Stop it at any time: the same command "
    "resumes where it left off."
)
def study(
    mixer: Annotated[
        str,
        typer.Argument(
            metavar="MIXER",
            help="A Python file that registers a mixer, or the name of a registered one.",
            autocompletion=options.complete_python_files,
        ),
    ],
    against: Annotated[
        list[str] | None,
        typer.Option(
            "--against",
            metavar="NAMES",
            help="Mixers to compare with, comma-separated; default: dw_conv,halo_attn.",
            autocompletion=options.complete_mixers,
        ),
    ] = None,
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="SET", help="digits, shapes, or a labelled folder with train and test.")
    ] = "digits",
    scale: options.Scale = "nano",
    seeds: Annotated[int, typer.Option("--seeds", metavar="N", help="Trainings of each model.", min=1, max=100)] = 3,
    budget: Annotated[
        str | None,
        typer.Option("--budget", metavar="TIME", help="20m, 1h30m: what does not fit is left out; default: all of it."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the plan: tasks, time, what is left out. Writes nothing.")
    ] = False,
    anyway: Annotated[bool, typer.Option("--anyway", help="Study a mixer that fails checks of its contract.")] = False,
    workers: Annotated[
        str, typer.Option("--workers", metavar="N", help="Processes on this machine; auto: one for each core, up to 8.")
    ] = "auto",
    plugin: options.Plugin = None,
    device: options.Device = "auto",
    fresh: Annotated[bool, typer.Option("--fresh", help="Do again what the store already holds.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FOLDER",
            help="The result store, a folder or an address; default: results/study_MIXER.",
            parser=store_folder,
        ),
    ] = None,
    debug: options.Debug = False,
) -> None:
    """Compare a mixer with others: one command from a file of code to an answer.

    Checks the mixer's contract, matches multiply-adds, trains the mixer, the others and a network without any mixing,
    measures everything, and writes one page that begins with the verdict: better, worse or inconclusive.
    """
    began = time.monotonic()
    values.scale(scale)
    with session.importing():
        from stmbench.commands.study_output import StudyOutput, analyses_of, mixer_of
    from stmbench.plugins import load_plugins
    from stmbench.studies.options import BASELINES, StudyOptions, seconds_of

    load_plugins(plugin or ())
    name, own = mixer_of(mixer, anyway=anyway)
    files = [*own, *(plugin or ())]
    asked = StudyOptions(
        mixer=name,
        baselines=tuple(values.items(against)) or BASELINES,
        dataset=dataset,
        scale=scale,
        seeds=seeds,
        budget=None if budget is None else seconds_of(budget),
        analyses=analyses_of(files),
    )
    output = StudyOutput.of(
        asked,
        plugins=files,
        folder=out or Path("results") / f"study_{name}",
        workers=workers,
        device=values.device(device),
        fresh=fresh,
        began=began,
    )
    output.show_plan_for_study()
    if dry_run:
        return
    session.keep(f"what is finished stays in {shown(output.folder)}, and the same command resumes from there")
    output.prepare()
    output.run("local", None)
