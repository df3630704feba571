"""The `smooth-interpolation` command."""

from __future__ import annotations

import logging
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from .. import locations
from ..config import fields
from ..config.fields import MAX_SEED, MAX_WIDTH
from ..errors import ConfigError, UserError
from ..runs import resources, store
from . import BEGAN, display, options
from .display import console, errors, say
from .records import claims, figure, measure, show

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    help="Train networks of growing width on noisy labels and measure how sharp their loss is around the images.\n\n"
    "An experiment is a file, params/<scale>/<experiment>.yaml. Start with the built-in images, which need no download:\n\n"
    "[bold]smooth-interpolation sweep params/demo/convnet-noise20.yaml[/bold]",
)
MANY = 1024  # processes, threads or networks side by side
_began: float | None = None  # when the process did, where the command is all that it is for


@app.command()
def run(
    params: options.Params,
    width: Annotated[int, typer.Option(help="Base width of the network.", min=1, max=MAX_WIDTH)],
    seed: Annotated[int, typer.Option(help="Of initialisation and batches.", min=0, max=MAX_SEED)] = 0,
    set_: options.Set = None,
    device: options.Device = "auto",
    results: options.Results = None,
    threads: Annotated[int, typer.Option(help="Of the CPU; the same number gives the same bits.", min=1, max=MANY)] = 1,
    force: Annotated[bool, typer.Option("--force", help="Measure again although there is a record.")] = False,
    without: options.Without = None,
    time_limit: options.TimeLimit = None,
    yes: options.Yes = False,
) -> None:
    """Train and measure one network, and keep its record.

    The width need not be one of the file's: smooth-interpolation run params/demo/convnet-noise20.yaml --width 6

    Exit codes: as of sweep.
    """
    until = _until(time_limit)
    one = options.experiment_of(params, set_).run(width, seed)
    kind = resources.choose(device).type
    acceleration = options.acceleration_of(without)
    if not force and store.read(one, results) is not None:
        say(f"{one} is measured already: {store.path_of(one, results)} (--force measures it again).")
        return
    options.agree([one], yes or until is not None, 1, kind)
    how = {"device": device, "threads": threads, "acceleration": acceleration, "force": force, "until": until}
    with options.interruptible():
        record = display.measure(one, results, errors, **how)
    console.print(*display.record_summary(record), sep="\n")
    say(f"Record: {store.path_of(one, results)}")


@app.command()
def sweep(
    params: options.Params,
    set_: options.Set = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would run, and its cost.")] = False,
    width: options.Width = None,
    seed: options.Seed = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes of a thread each; by default one per core, or one on each GPU.", min=1, max=MANY),
    ] = None,
    at_once: Annotated[
        int | None,
        typer.Option(help="Networks that each trains side by side; by default 1, or 16 on a GPU.", min=1, max=MANY),
    ] = None,
    device: options.Device = "auto",
    results: options.Results = None,
    without: options.Without = None,
    time_limit: options.TimeLimit = None,
    yes: options.Yes = False,
    engine: Annotated[
        str, typer.Option(help="Where: processes of this machine, serial (one process), or ray: a cluster.")
    ] = "processes",
    address: Annotated[
        str | None,
        typer.Option(help="Ray: HOST:PORT of the cluster's head, or auto; by default $RAY_ADDRESS, or this machine."),
    ] = None,
    gpus_per_run: Annotated[
        float | None,
        typer.Option(help="Ray: a run's share of one GPU, from 0 to 1.", parser=fields.gpus, metavar="NUMBER"),
    ] = None,
    memory_per_run: Annotated[
        int | None,
        typer.Option(help="Ray: memory that a run needs, such as 2GB.", parser=options.parse_bytes, metavar="SIZE"),
    ] = None,
    in_flight: Annotated[int | None, typer.Option(help="Ray: at most so many runs at a time.", min=1)] = None,
) -> None:
    """Do all runs of an experiment that have no record yet: on CPUs narrow networks first, on GPUs the longest runs.

    Stop it with Ctrl-C whenever you like, or kill it: started again, every run goes on from its last checkpoint.
    Several sweeps of the same file share its runs, on several machines too if they share the results' directory.

    Exit codes: 0 when nothing failed, 1 when a run failed or something is wrong with what was asked, 75 when --time-limit
    left runs to do, 130 when stopped.
    """
    until = _until(time_limit)
    from ..runs import ray_engine
    from ..runs import sweep as engines

    on_ray = {
        "address": address,
        "gpus_per_run": gpus_per_run,
        "memory_per_run": memory_per_run,
        "in_flight": in_flight,
    }
    options.check_engine(engine, {"workers": workers, "at_once": at_once}, on_ray)

    experiment = options.experiment_of(params, set_)
    planned = experiment.runs()
    acceleration = options.acceleration_of(without)
    experiment = options.chosen(experiment, width, seed)
    here = "auto" if engine == "ray" and device != "cpu" else device  # a cluster may have what this machine has not
    todo = engines.plan(experiment, results, here, dry=dry_run)
    done = len(experiment.runs()) - len(todo)
    if not todo:
        console.print(f"All {done} runs of {experiment.scale}/{experiment.name} are done.")
        return
    places = resources.named(here)
    kind = places[0].partition(":")[0] if gpus_per_run is None else "cuda" if gpus_per_run else "cpu"
    workers = workers or (options.cores() if kind == "cpu" else len(places))
    beside = workers if engine == "processes" else 1  # how much a cluster does at a time is not known here
    if dry_run:
        console.print(*display.plan(todo, planned, beside, kind, results), sep="\n")
        return
    how: dict[str, Any] = {"device": device, "root": results, "acceleration": acceleration, "until": until}
    options.agree(todo, yes or until is not None, beside, kind)
    costs = {}
    if engine == "ray" or kind != "cpu":
        costs = display.costs(todo, store.read_all(planned, results), kind, results)
    if engine == "ray":
        todo.sort(key=lambda one: -costs[one])
        do, how = ray_engine.run_sweep, how | on_ray
    else:
        do, how["at_once"] = engines.serial, at_once or (1 if kind == "cpu" else 16)
        if engine == "processes":
            do, how["workers"] = engines.sweep, workers
            how |= {} if kind == "cpu" else {"devices": places, "costs": costs}
    title, directory = f"{experiment.scale}/{experiment.name}", store.path_of(todo[0], results).parent
    with options.interruptible(), display.bars(title, done + len(todo), done, errors) as watch:
        outcome = do(todo, watch=watch, **how)
    for name in ("complete", "diverged", "failed"):
        if n := len(getattr(outcome, name)):
            say(f"{n} {name}" + f", in {directory}" * (name != "failed"))
    for skipped, reason in outcome.skipped:
        say(f"{skipped}: {reason}")
    for failed, reason in outcome.failed:
        errors.print(f"[bold red]{failed} failed:[/] {escape(reason)}", soft_wrap=True)
    if outcome.left:
        what = display.left(outcome.left, len(experiment.runs()), planned, beside, kind, results)
        say(f"Time is up: {what}. To go on: {options.again(sys.argv)}", errors)
    if outcome.failed or outcome.left:
        raise typer.Exit(1 if outcome.failed else options.TIME_UP)


@app.command()
def status(
    params: Annotated[
        list[Path] | None,
        typer.Argument(help="Experiments; by default all of params/<scale>/<experiment>.yaml, and all with records."),
    ] = None,
    set_: options.Set = None,
    results: options.Results = None,
) -> None:
    """What is done, missing and diverged, what runs now on any machine, and the time left at the speed of the runs done."""

    files = params or sorted((locations.repository() / "params").glob("*/*.yaml"))
    others = [] if params else store.studies(results)
    if not files and not others:
        raise ConfigError("There are no params files here: name one, or go to the project's directory.")
    table = Table("experiment", "done", "missing", "diverged", "time left", box=None, padding=(0, 2, 0, 0))
    table.columns[0].overflow = "fold"
    planned: set[Path] = set()
    lists = []
    for file in files:
        experiment = options.experiment_of(file, set_)
        title = f"{experiment.scale}/{experiment.name}"
        records = {run: store.read(run, results) for run in experiment.runs()}
        found = [record for record in records.values() if record is not None]
        of = {
            "missing": [run for run, record in records.items() if record is None],
            "diverged": [run for run, record in records.items() if record and record["status"] == "diverged"],
        }
        done, left = len(found) - len(of["diverged"]), display.time_left(of["missing"], found)
        table.add_row(title, str(done), *(str(len(runs)) for runs in of.values()), left)
        for state, runs in of.items() if params else ():
            if runs:
                which = "all" if len(runs) == len(records) else display.in_words(runs)
                lists.append(f"{title}, {state}: {which}")
        planned |= {store.path_of(run, results) for run in records}
    directories = {path.parent for path in planned}
    others = [path for path in others if path.with_name(path.name.partition("+")[0]) not in directories]
    for other in others:
        found = [store.read_file(path) for path in sorted(other.glob("w*-s*.json"))]
        diverged = sum(record["status"] == "diverged" for record in found)
        table.add_row(f"{other.parent.name}/{other.name}", str(len(found) - diverged), "?", str(diverged), "?")
    console.print(table)
    if others:
        where = "their params files are not among params/<scale>/<experiment>.yaml, where they are looked for"
        say(f"?: {where}: name them, or move them there.")
    for directory in sorted(directories):
        if besides := display.besides(directory, planned):
            say(besides)
    for shown in display.in_progress(sorted(directories.union(others))):
        say(shown)
    for line in lists:
        say(line)


for command in (show, claims, figure, measure):
    app.command()(command)


def _until(time_limit: float | None) -> float | None:
    """When a command must be over, by `time.monotonic`; the limit counts from its start."""
    return None if time_limit is None else (_began or time.monotonic()) + time_limit


def main() -> None:
    """Entry point: what a user can mend is one sentence on standard error and exit code 1."""
    global _began
    _began = BEGAN
    resources.end_quickly()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    try:
        sys.exit(app(standalone_mode=False) or 0)
    except typer.Abort:  # the answer to `options.agree`
        errors.print("Nothing was started.")
        sys.exit(1)
    except UserError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.strerror or error} ({error.filename or 'no file'})."
    except Exception as error:
        if not hasattr(error, "format_message"):  # not of the command line's own errors
            raise
        message = fields.sentence(error.format_message().strip().rstrip("."))
        if message == ".":  # no command: the help has been shown
            sys.exit(1)
    errors.print(f"[bold red]Error:[/] {escape(message)}", soft_wrap=True)
    sys.exit(1)
