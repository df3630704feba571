"""What the commands of `cli` share: options, how they are checked, and the experiment that they name."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ByteSize, TypeAdapter, ValidationError

from .. import config, locations
from ..config import Experiment, Run, fields, params_file
from ..config.fields import MAX_SEED, MAX_WIDTH
from ..errors import ConfigError
from ..runs import resources
from .display import errors, say

if TYPE_CHECKING:  # looking at records needs no PyTorch
    from ..train.loop import Acceleration

TIME_UP = 75  # exit code, EX_TEMPFAIL of sysexits.h: the same command, given again, goes on
LEAST, MOST = 20.0, 366 * 86400.0  # seconds that can be a limit
MOST_BYTES = 1 << 60


def parse_time(text: str) -> float:
    """Seconds of a time such as 90, 90s, 9m or 1h30m. Raises ConfigError if it is none."""
    number = r"(\d{1,9}(?:\.\d{1,9})?)"
    pattern = rf"(?:{number}h)?(?:{number}m(?:in)?)?(?:{number}s?)?"
    found = re.fullmatch(pattern, "".join(text.lower().split()), re.ASCII)
    hours, minutes, seconds = (float(part or 0) for part in found.groups()) if found else (0.0, 0.0, 0.0)
    total = 3600 * hours + 60 * minutes + seconds
    if not LEAST <= total <= MOST:
        how = "write a time such as 90s, 9m or 1h30m, from 20 seconds to a year"
        raise ConfigError(f"--time-limit {fields.plain(text)}: {how}.")
    return total


def parse_bytes(text: str) -> int:
    """Bytes of a size such as 2GB, 500 MB or 1.5GiB. Raises ConfigError if it is none."""
    try:
        size = TypeAdapter(ByteSize).validate_python(text.strip().upper().removesuffix("B") + "B")
    except ValidationError:
        size = ByteSize(0)
    if not 0 < size < MOST_BYTES:
        raise ConfigError(f"--memory-per-run {text}: write a size such as 2GB or 500MB.")
    return size


ENGINES = ("processes", "serial", "ray")

Params = Annotated[Path, typer.Argument(help="The experiment, such as params/demo/convnet-noise20.yaml.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="FIELD=VALUE", help="Set a field apart from the file; can be repeated."),
]
Device = Annotated[str, typer.Option(help="cpu, one GPU such as cuda:1, cuda, or auto: what there is.")]
Without = Annotated[
    list[str] | None,
    typer.Option(help="Turn off channels_last, data_on_device, cuda_graph, compile or stack; can be repeated."),
]
Results = Annotated[
    Path | None,
    typer.Option(
        help="Directory of the records, instead of results/.",
        file_okay=False,
        callback=lambda path: path and locations.expanded(path),  # which a shell leaves in --results=~/mine
    ),
]
TimeLimit = Annotated[
    float | None,
    typer.Option(
        help="End by itself before so long has passed, such as 9m or 1h30m, with checkpoints to go on from.",
        parser=parse_time,
        metavar="TIME",
    ),
]
Width = Annotated[list[int] | None, typer.Option(help="Only this width; can be repeated.", min=1, max=MAX_WIDTH)]
Seed = Annotated[list[int] | None, typer.Option(help="Only this seed; can be repeated.", min=0, max=MAX_SEED)]
Yes = Annotated[bool, typer.Option("--yes", help="Train for longer than two minutes without asking.")]


def agree(todo: Sequence[Run], yes: bool, workers: int, kind: str) -> None:
    """Ask, or say how to agree, before anything is trained that by prediction takes longer than two minutes."""
    from ..runs import single
    from ..runs.records import TRAIN_MINUTES

    if yes or not todo:
        return
    try:
        single.agreed(todo, TRAIN_MINUTES, "--yes or a --time-limit", workers, kind)
    except ConfigError as error:
        if not sys.stdin.isatty():
            raise
        typer.confirm(f"{error} Do it?", abort=True)


def experiment_of(params: Path, set_: list[str] | None) -> Experiment:
    overrides = {}
    for text in set_ or []:
        name, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {fields.plain(text)}: write --set FIELD=VALUE, such as --set epochs=20.")
        where = f"--set {fields.plain(name)}={fields.quoted(value)}"
        overrides[name.strip()] = params_file.value(value, where)
        if overrides[name.strip()] is None:
            raise ConfigError(f"--set {fields.plain(text)}: write a value; a field that is not set is the file's.")
    return config.load(params, overrides)


def chosen(experiment: Experiment, width: list[int] | None, seed: list[int] | None) -> Experiment:
    """The experiment, of these widths and seeds alone if any are given."""
    if not (width or seed):
        return experiment
    these = {"widths": sorted(set(width or experiment.widths)), "seeds": list(dict.fromkeys(seed or experiment.seeds))}
    return config.build(Experiment, {**experiment.model_dump(), **these}, "the given options")


def check_engine(engine: str, of_this_machine: dict[str, Any], of_ray: dict[str, Any]) -> None:
    if engine not in ENGINES:
        raise ConfigError(f"--engine: {config.unknown_name(engine, ENGINES)}")
    foreign = of_this_machine if engine == "ray" else of_ray
    if engine == "serial":
        foreign = foreign | {"workers": of_this_machine["workers"]}
    for name, value in foreign.items():
        if value is not None:  # 0 was given, too
            raise ConfigError(f"--{name.replace('_', '-')} does not go with --engine {engine}.")


def acceleration_of(without: list[str] | None) -> Acceleration:
    from ..train.loop import Acceleration

    parts = Acceleration.__dataclass_fields__
    for name in without or []:
        if name not in parts:
            raise ConfigError(f"--without: {config.unknown_name(name, parts)}")
    return Acceleration(**dict.fromkeys(without or [], False))


def again(words: Sequence[str]) -> str:
    """The command that was given, to give it again."""
    program = Path(words[0])
    name = "python -m smooth_interpolation.cli" if program.suffix == ".py" else program.name
    return f"{name} {shlex.join(words[1:])}"


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """What ends the body early is said in a sentence."""
    try:
        yield
    except resources.TimeUp:
        say(f"Time is up: the run is left. To go on: {again(sys.argv)}", errors)
        raise typer.Exit(TIME_UP) from None
    except KeyboardInterrupt:
        errors.print("Stopped. What was finished is kept; start again to go on.")
        raise typer.Exit(130) from None
