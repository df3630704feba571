"""Commands on records that there are: showing, judging, drawing them, and measuring their networks again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .. import config
from ..claims import verdicts
from ..config.fields import MAX_WIDTH
from ..errors import ConfigError
from ..runs import store
from ..runs.records import Records
from . import display
from .display import console, errors, say
from .options import Device, Params, Results, Seed, Set, Width, chosen, experiment_of, interruptible


def show(
    record: Annotated[Path, typer.Argument(help="A record, such as results/laptop/convnet-noise20/w006-s0.json.")],
) -> None:
    """A record, verified: how training ended, a table of its volumes, and where it comes from."""
    if record.suffix == ".yaml":
        raise ConfigError(f"{record} is a params file: name a record, such as results/laptop/NAME/w006-s0.json.")
    console.print(*display.record_summary(store.read_file(record)), sep="\n")


def claims(
    params: Annotated[
        list[Path] | None, typer.Argument(help="Experiments, with what was found; the paper's in short by default.")
    ] = None,
    set_: Set = None,
    results: Results = None,
) -> None:
    """Which of the paper's claims hold in the records, with the size of the effect."""
    from .. import claims as registry

    if not params:
        if set_:
            raise ConfigError("--set needs a params file to set a field of.")
        console.print(*display.claims_by_scale(verdicts.overview(results)), sep="\n")
        others = [
            f"{path.parent.name}/{path.name} ({len(list(path.glob('w*-s*.json')))} records)"
            for path in store.studies(results)
            if path.parent.name not in registry.SCALES or path.name not in registry.EXPERIMENTS
        ]
        if others:
            where = "params/<scale>/<experiment>.yaml or elsewhere"
            console.print(f"Left out, and judged with their params files, {where}: {', '.join(others)}.")
        return
    for file in params:
        experiment = experiment_of(file, set_)
        table = registry.judge(store.read_all(experiment.runs(), results), experiment.experiment, experiment)
        if len(params) > 1:
            console.print(f"[bold underline]{experiment.scale}/{experiment.name}[/]")
        console.print(*display.claims_of_one(table), verdicts.trial(experiment.scale), sep="\n")


def figure(
    name: Annotated[str, typer.Argument(help="Such as fig2; an unknown name lists all.")],
    output: Annotated[Path, typer.Option(help="Where to write it: .svg, .pdf or .png.")],
    params: Annotated[
        Path | None, typer.Argument(help="The experiment; fig1ab, trained in seconds, needs none.")
    ] = None,
    width: Annotated[int | None, typer.Option(help="Mark this width.", min=1, max=MAX_WIDTH)] = None,
    set_: Set = None,
    results: Results = None,
) -> None:
    """Draw a figure of the paper from an experiment's records into a file."""
    from .. import figures

    if name.endswith(".yaml"):
        raise ConfigError(f"The figure comes first, then the params file: smooth-interpolation figure fig2 {name} ...")
    if name not in (*figures.FIGURES, "fig1ab"):
        raise ConfigError(f"figure: {config.unknown_name(name, (*figures.FIGURES, 'fig1ab'))}")
    if output.suffix not in (".svg", ".pdf", ".png"):
        raise ConfigError(f"--output {output}: its name must end in .svg, .pdf or .png.")
    if name == "fig1ab":
        from ..figures import intuition_figures
        from ..studies import intuition

        figures.save(intuition_figures.fig1ab(*intuition.example()), output)
        say(output)
        return
    if params is None:
        raise ConfigError(f"{name} is drawn from an experiment's records: name one, params/<scale>/<experiment>.yaml.")
    experiment = experiment_of(params, set_)
    if name.startswith("fig7") and experiment.noise != "asymmetric":
        raise ConfigError(f"{name} tells corrupted classes from others: {params} has noise {experiment.noise!r}.")
    runs = Records(experiment, tuple(store.explored(experiment, results)))
    if not runs:
        raise ConfigError(f"Nothing of {params} is measured yet: smooth-interpolation sweep {params} does it.")
    figures.save(figures.draw(name, runs, width=width), output)
    besides = f", and besides them w = {', '.join(map(str, runs.explored))}" if runs.explored else ""
    say(f"{output}: {len(runs.planned)} of {len(experiment.runs())} runs{besides}")


def measure(
    params: Params,
    set_: Set = None,
    width: Width = None,
    seed: Seed = None,
    table: Annotated[
        Path | None, typer.Option(help="Write a row per network, point and volume size to a .csv or .parquet.")
    ] = None,
    epoch: Annotated[int | None, typer.Option(help="With --table: after this one of keep_epochs.", min=1)] = None,
    device: Device = "auto",
    results: Results = None,
) -> None:
    """Measure trained networks again from their kept weights, otherwise than before; nothing is trained.

    Other volumes, points or directions: --set strengths=[2,4,8], --set points_from=test (test images),
    --set points_from=restored (with the true labels where they were wrong), --set n_noisy_points=500.
    """
    from ..data.preparation import prepare
    from ..runs import weights

    experiment = chosen(experiment_of(params, set_), width, seed)
    if table is not None and table.suffix not in weights.KINDS:
        raise ConfigError(f"--table {table}: its name must end in {' or '.join(weights.KINDS)}.")
    if epoch is not None and (table is None or epoch not in experiment.keep_epochs):
        raise ConfigError(f"--epoch {epoch}: it goes with --table, and must be one of keep_epochs.")
    there = [run for run in experiment.runs() if weights.kept(run)]
    lacking = [run for run in experiment.runs() if run not in there]
    if lacking:
        widths = ", ".join(f"w{run.width}-s{run.seed}" for run in lacking)
        say(f"No weights are kept of {widths}: smooth-interpolation run --force trains and keeps them.")
    if not there:
        raise ConfigError(f"No weights of {experiment.scale}/{experiment.name} are kept here: nothing can be measured.")
    todo = [] if epoch else [run for run in there if store.read(run, results) is None]
    with interruptible():
        for run in todo:
            display.measure(run, results, errors, device=device, reuse=True)
    place = store.path_of(there[0], results).parent
    networks = "1 network is" if len(there) == 1 else f"{len(there)} networks are"
    say(f"{networks} measured, {len(todo)} of them now: {place}")
    if table is not None:
        data = prepare(experiment)
        weights.write_table(weights.points_table(there, epoch=epoch, device=device, prepared=data), table)
        say(f"Points: {table}")
