"""The `smooth-interpolation` command."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .. import config, locations
from ..claims import verdicts
from ..config import Run, validation
from ..config.fields import MAX_SEED, MAX_WIDTH
from ..errors import ConfigError, UserError
from ..runs import limits, store
from . import display
from .options import (
    MAX_IN_FLIGHT,
    MAX_WORKERS,
    Device,
    Params,
    Results,
    Seed,
    Set,
    TimeLimit,
    Width,
    Without,
    Yes,
    acceleration_of,
    again,
    agree,
    check_engine,
    chosen,
    cores,
    experiment_of,
    parse_bytes,
    whole,
)

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train networks of growing width on noisy labels and measure how sharp their loss is around the images.\n\n"
    "An experiment is a file, params/<scale>/<experiment>.yaml. Start with the built-in images, which need no download:\n\n"
    "[bold]smooth-interpolation sweep params/demo/convnet-noise20.yaml[/bold]",
)
TIME_UP = 75  # exit code, EX_TEMPFAIL of sysexits.h: the same command, given again, goes on
_began: float | None = None  # when the process did
console = Console(stderr=False)
errors = Console(stderr=True)


@app.command()
def run(
    params: Params,
    width: Annotated[
        int, typer.Option(help="Base width of the network.", show_default=False, **whole("--width", 1, MAX_WIDTH))
    ],
    seed: Annotated[int, typer.Option(help="Of initialisation and batches.", **whole("--seed", 0, MAX_SEED))] = 0,
    set_: Set = None,
    device: Device = "auto",
    results: Results = None,
    threads: Annotated[
        int,
        typer.Option(
            help="CPU threads; results are the same bits only for the same number.",
            **whole("--threads", 1, MAX_WORKERS),
        ),
    ] = 1,
    force: Annotated[bool, typer.Option("--force", help="Measure again although there is a record.")] = False,
    without: Without = None,
    time_limit: TimeLimit = None,
    yes: Yes = False,
) -> None:
    """Train and measure one network, and keep its record.

    The width need not be one of the file's: smooth-interpolation run params/demo/convnet-noise20.yaml --width 6

    Exit codes: as of sweep.
    """
    until = _until(time_limit)
    from ..runs import single
    from ..runs import sweep as engines

    one = experiment_of(params, set_).run(width, seed)
    single.choose_device(device)
    acceleration = acceleration_of(without)
    if not force and store.read(one, results) is not None:
        console.print(f"{one} is measured already: {store.path_of(one, results)} (--force measures it again).")
        return
    agree([one], yes or until is not None, 1)
    with _interruptible():
        options = {"device": device, "threads": threads, "acceleration": acceleration, "force": force, "until": until}
        record = engines.measure(one, results, **options)
    console.print(*display.record_summary(record), sep="\n", highlight=False)
    console.print(f"Record: {store.path_of(one, results)}", soft_wrap=True)


@app.command()
def sweep(
    params: Params,
    set_: Set = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would run, and what it would cost.")
    ] = False,
    width: Width = None,
    seed: Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes side by side, each on one thread; by default one per core, or one on each GPU.",
            **whole("--workers", 1, MAX_WORKERS),
        ),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(
            help="Networks that a process trains side by side; by default 1, or 16 on a GPU.",
            **whole("--at-once", 1, MAX_WORKERS),
        ),
    ] = None,
    device: Device = "auto",
    results: Results = None,
    without: Without = None,
    time_limit: TimeLimit = None,
    yes: Yes = False,
    engine: Annotated[
        str, typer.Option(help="Where: processes of this machine, serial (one process), or ray: a cluster.")
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(help="Ray: HOST:PORT of the cluster's head, or auto; by default $RAY_ADDRESS, or this machine."),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(
            help="Ray: a run's share of one GPU, from 0 to 1, such as 0.25.",
            parser=validation.gpus,
            metavar="NUMBER",
            show_default=False,
        ),
    ] = None,
    memory_per_run: Annotated[
        str | None, typer.Option(help="Ray: memory that a run needs, such as 2GB.", show_default=False)
    ] = None,
    in_flight: Annotated[
        int | None,
        typer.Option(help="Ray: at most so many runs at a time.", **whole("--in-flight", 1, MAX_IN_FLIGHT)),
    ] = None,
) -> None:
    """Do all runs of an experiment that have no record yet: on CPUs narrow networks first, on GPUs the longest runs.

    Stop it with Ctrl-C whenever you like, or kill it: started again, every run goes on from its last checkpoint.
    Several sweeps of the same file share its runs, on several machines too if they share the results' directory.

    Exit codes: 0 when nothing failed, 1 when a run failed or something is wrong with what was asked, 75 when --time-limit
    left runs to do, 130 when stopped.
    """
    until = _until(time_limit)
    from ..runs import single
    from ..runs import sweep as engines
    from ..runs.engines import ray_engine
    from . import bars, supervision

    on_ray = {
        "address": address,
        "gpus_per_run": gpus_per_run,
        "memory_per_run": None if memory_per_run is None else parse_bytes(memory_per_run),
        "in_flight": in_flight,
    }
    check_engine(engine, {"workers": workers, "at_once": at_once}, on_ray)

    experiment = experiment_of(params, set_)
    planned = experiment.runs()
    acceleration = acceleration_of(without)
    experiment = chosen(experiment, width, seed)
    todo = engines.plan(experiment, results, "auto" if engine == "ray" else device, dry=dry_run)
    done = len(experiment.runs()) - len(todo)
    if not todo:
        console.print(f"All {done} runs of {experiment.scale}/{experiment.name} are done.")
        return
    devices = single.devices("auto" if engine == "ray" else device)
    kind = devices[0].partition(":")[0]
    workers = workers or (cores() if kind == "cpu" else len(devices))
    if dry_run:
        beside = in_flight or 1 if engine == "ray" else 1 if engine == "serial" else workers
        console.print(*supervision.plan(todo, planned, beside, kind, results), sep="\n", highlight=False)
        return
    options: dict[str, Any] = {"device": device, "root": results, "acceleration": acceleration, "until": until}
    costs = {}
    if engine == "ray" or kind != "cpu":
        costs = supervision.costs(todo, store.read_all(planned, results), kind, results)
    if engine == "ray":
        todo.sort(key=lambda one: -costs[one])
        do, options = ray_engine.run_sweep, options | on_ray
    else:
        do, options["at_once"] = engines.serial, at_once or (1 if kind == "cpu" else 16)
        if engine == "processes":
            do, options["workers"] = engines.sweep, workers
            options |= {} if kind == "cpu" else {"devices": devices, "costs": costs}
    if engine != "ray":
        agree(todo, yes or until is not None, 1 if engine == "serial" else workers)
    with _interruptible():
        outcome = bars.sweep(experiment, todo, errors, do, **options)
    for name in ("complete", "diverged", "failed"):
        if getattr(outcome, name):
            console.print(f"{len(getattr(outcome, name))} {name}")
    for skipped, reason in outcome.skipped:
        console.print(f"{skipped}: {escape(reason)}", highlight=False, soft_wrap=True)
    for failed, reason in outcome.failed:
        errors.print(f"[bold red]{failed} failed:[/] {escape(reason)}", highlight=False, soft_wrap=True)
    if outcome.left:
        beside = workers if engine == "processes" else 1
        what = supervision.left(outcome.left, len(experiment.runs()), planned, beside, kind, results)
        errors.print(f"Time is up: {what}. To go on: {again(sys.argv)}", highlight=False, soft_wrap=True)
    if outcome.failed or outcome.left:
        raise typer.Exit(1 if outcome.failed else TIME_UP)


@app.command()
def status(
    params: Annotated[
        list[Path] | None, typer.Argument(help="Experiments; all by default.", show_default=False)
    ] = None,
    set_: Set = None,
    results: Results = None,
) -> None:
    """What is done, missing and diverged, what runs now on any machine, and the time left at the speed of the runs done."""
    from . import supervision

    files = params or sorted((locations.repository() / "params").glob("*/*.yaml"))
    if not files:
        raise ConfigError("There are no params files here: name one, or go to the project's directory.")
    table = Table("experiment", "done", "missing", "diverged", "time left")
    details: list[tuple[Run, str]] = []
    for file in files:
        experiment = experiment_of(file, set_)
        records = {run: store.read(run, results) for run in experiment.runs()}
        missing = [run for run, record in records.items() if record is None]
        found = [record for record in records.values() if record is not None]
        diverged = [r for r in found if r["status"] == "diverged"]
        table.add_row(
            f"{experiment.scale}/{experiment.name}",
            str(len(found) - len(diverged)),
            str(len(missing)),
            str(len(diverged)),
            supervision.time_left(missing, found),
        )
        details += [(run, record["status"] if record else "missing") for run, record in records.items()]
    console.print(table)
    for path in sorted({store.path_of(run, results).parent for run, _ in details}):
        if besides := supervision.besides(path, {store.path_of(run, results) for run, _ in details}):
            console.print(besides, highlight=False, soft_wrap=True)
    for found in supervision.in_progress([run for run, _ in details], results):
        console.print(found, highlight=False, soft_wrap=True)
    if params:
        by_state: dict[str, list[str]] = {}
        for run, state in details:
            by_state.setdefault(state, []).append(f"w{run.width}-s{run.seed}")
        for state in ("complete", "diverged", "missing"):
            if state in by_state:
                console.print(f"{state}: {', '.join(by_state[state])}", highlight=False)


@app.command()
def show(
    record: Annotated[
        Path, typer.Argument(help="A record, such as results/laptop/convnet-noise20/w006-s0.json.", show_default=False)
    ],
) -> None:
    """A record, verified: how training ended, a table of its volumes, and where it comes from."""
    if record.suffix == ".yaml":
        raise ConfigError(
            f"{record} is a params file: name a record, such as results/laptop/convnet-noise20/w006-s0.json."
        )
    console.print(*display.record_summary(store.read_file(record)), sep="\n", highlight=False)


@app.command()
def claims(
    params: Annotated[
        Path | None,
        typer.Argument(help="One experiment, with what was found; all in short by default.", show_default=False),
    ] = None,
    set_: Set = None,
    results: Results = None,
) -> None:
    """Which of the paper's claims hold in the records, with the size of the effect."""
    from .. import claims as registry

    if params is None:
        if set_:
            raise ConfigError("--set needs a params file to set a field of.")
        console.print(*display.claims_by_scale(verdicts.overview(results)), sep="\n", highlight=False)
        return
    experiment = experiment_of(params, set_)
    table = registry.judge(store.read_all(experiment.runs(), results), experiment.experiment, experiment)
    console.print(*display.claims_of_one(table), verdicts.trial(experiment.scale), sep="\n", highlight=False)


@app.command()
def figure(
    name: Annotated[str, typer.Argument(help="Such as fig2; an unknown name lists all.", show_default=False)],
    output: Annotated[Path, typer.Option(help="Where to write it: .svg, .pdf or .png.", show_default=False)],
    params: Annotated[
        Path | None, typer.Argument(help="The experiment; fig1ab, trained in seconds, needs none.", show_default=False)
    ] = None,
    width: Annotated[
        int | None, typer.Option(help="Mark this width.", show_default=False, **whole("--width", 1, MAX_WIDTH))
    ] = None,
    set_: Set = None,
    results: Results = None,
) -> None:
    """Draw a figure of the paper from an experiment's records into a file."""
    from .. import figures

    if name not in (*figures.FIGURES, "fig1ab"):
        raise ConfigError(f"figure: {config.unknown_name(name, (*figures.FIGURES, 'fig1ab'))}")
    if output.suffix not in (".svg", ".pdf", ".png"):
        raise ConfigError(f"--output {output}: its name must end in .svg, .pdf or .png.")
    if name == "fig1ab":
        from ..figures import intuition_figures
        from ..studies import intuition

        figures.save(intuition_figures.fig1ab(*intuition.example()), output)
        console.print(output, soft_wrap=True)
        return
    if params is None:
        raise ConfigError(f"{name} is drawn from an experiment's records: name one, params/<scale>/<experiment>.yaml.")
    experiment = experiment_of(params, set_)
    if name.startswith("fig7") and experiment.noise != "asymmetric":
        raise ConfigError(f"{name} tells corrupted classes from others: {params} has noise {experiment.noise!r}.")
    records = store.read_all(experiment.runs(), results)
    if not records:
        raise ConfigError(f"Nothing of {params} is measured yet: smooth-interpolation sweep {params} does it.")
    figures.save(figures.draw(name, records, width=width), output)
    console.print(f"{output}: {len(records)} of {len(experiment.runs())} runs")


@app.command()
def measure(
    params: Params,
    set_: Set = None,
    width: Width = None,
    seed: Seed = None,
    table: Annotated[
        Path | None,
        typer.Option(help="Write a row per network, point and volume size to a .csv or .parquet.", show_default=False),
    ] = None,
    epoch: Annotated[
        int | None,
        typer.Option(help="With --table: after this one of keep_epochs.", **whole("--epoch", 1, 1_000_000)),
    ] = None,
    device: Device = "auto",
    results: Results = None,
) -> None:
    """Measure trained networks again from their kept weights, otherwise than before; nothing is trained.

    Other volumes, points or directions: --set strengths=[2,4,8], --set points_from=test (test images),
    --set points_from=restored (with the true labels where they were wrong), --set n_noisy_points=500.
    """
    from ..data.preparation import prepare
    from ..runs import points, weights
    from ..runs import sweep as engines

    experiment = chosen(experiment_of(params, set_), width, seed)
    if table is not None and table.suffix not in points.KINDS:
        raise ConfigError(f"--table {table}: its name must end in {' or '.join(points.KINDS)}.")
    if epoch is not None and (table is None or epoch not in experiment.keep_epochs):
        raise ConfigError(f"--epoch {epoch}: it goes with --table, and must be one of keep_epochs.")
    there = [run for run in experiment.runs() if weights.kept(run)]
    lacking = [run for run in experiment.runs() if run not in there]
    if lacking:
        widths = ", ".join(f"w{run.width}-s{run.seed}" for run in lacking)
        console.print(f"No weights are kept of {widths}: smooth-interpolation sweep trains them.", soft_wrap=True)
    if not there:
        raise ConfigError(f"No weights of {experiment.scale}/{experiment.name} are kept here: nothing can be measured.")
    todo = [] if epoch else [run for run in there if store.read(run, results) is None]
    with _interruptible():
        for run in todo:
            engines.measure(run, results, device=device, reuse=True)
    console.print(
        f"{len(there)} networks are measured, {len(todo)} of them now: {store.path_of(there[0], results).parent}"
    )
    if table is not None:
        data = prepare(experiment)
        points.write(points.points_table(there, epoch=epoch, device=device, prepared=data), table)
        console.print(f"Points: {table}")


def _until(time_limit: float | None) -> float | None:
    """When a command must be over, by `time.monotonic`; the limit counts from its start."""
    if time_limit is None:
        return None
    return (_began or time.monotonic()) + time_limit


@contextlib.contextmanager
def _interruptible() -> Iterator[None]:
    try:
        yield
    except limits.TimeUp:
        errors.print(f"Time is up: the run is left. To go on: {again(sys.argv)}", highlight=False, soft_wrap=True)
        raise typer.Exit(TIME_UP) from None
    except KeyboardInterrupt:
        errors.print("Stopped. What was finished is kept; start again to go on.")
        raise typer.Exit(130) from None


def main() -> None:
    """Entry point: what a user can mend is one sentence on standard error and exit code 1."""
    global _began
    _began = time.monotonic() - time.process_time()  # starting up, the processor was busy
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror or error} ({error.filename or 'no file'})."
    except Exception as error:
        if not hasattr(error, "format_message"):  # not of the command line's own errors
            raise
        message = validation.sentence(error.format_message().strip().rstrip("."))
        if message == ".":  # no command: the help has been shown
            sys.exit(1)
    errors.print(f"[bold red]Error:[/] {escape(message)}", highlight=False, soft_wrap=True)
    sys.exit(1)


if __name__ == "__main__":
    main()
