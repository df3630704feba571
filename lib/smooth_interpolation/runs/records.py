"""The records of an experiment together: what figures are drawn from, and what claims and pages are about."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, overload

import pandas as pd

from .. import config, locations
from ..config import Experiment, Run
from ..errors import ConfigError, RecordError
from . import store, tables
from .record_format import Record

TRAIN_MINUTES = 2.0  # for what takes longer, one is asked
FAMILY = 10  # widths of which a curve is shown before that of a smaller scale


@dataclass(frozen=True, eq=False)  # told apart as objects, so that what is made of them can be kept
class Records(Sequence[Record]):
    """An experiment and those of its runs that have a record.

    Attributes:
        experiment: what was asked for.
        found: the records: of the experiment's widths and seeds, and of the width that was asked for besides.
        width: that width, which figures mark; or None.
        train_minutes: what would train for longer, by prediction, is refused.
    """

    experiment: Experiment
    found: tuple[Record, ...]
    width: int | None = None
    train_minutes: float = TRAIN_MINUTES

    def __len__(self) -> int:
        return len(self.found)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Record, ...]: ...
    def __getitem__(self, index: int | slice) -> Record | tuple[Record, ...]:
        return self.found[index]

    @cached_property
    def volumes(self) -> pd.DataFrame:
        """As `volumes_table`."""
        return tables.volumes_table(self.found)

    @cached_property
    def history(self) -> pd.DataFrame:
        """As `history_table`."""
        return tables.history_table(self.found)

    @property
    def planned(self) -> list[Record]:
        """Those of the experiment's own widths and seeds: claims and sentences are about these."""
        return planned(self.found, self.experiment)

    @property
    def explored(self) -> list[int]:
        """Widths that were measured besides the plan: figures mark them, and no verdict is about them."""
        here = {record["config"]["width"] for record in self.found}
        return sorted(here - set(self.experiment.widths))

    @cached_property
    def threshold(self) -> int | None:
        """The interpolation threshold of the planned runs."""
        return store.threshold_of(self.planned)

    @property
    def missing(self) -> list[Run]:
        """The runs of the experiment that have no record."""
        return [run for run in self.experiment.runs() if not store.path_of(run).exists()]

    def at(self, scale: str | None = None) -> Records:
        """The same experiment at another scale, as its params file has it; None: at the next smaller one with records, else a larger one.

        `demo`, which is for trying things out, is chosen by name alone.
        """
        if scale is None:
            scales, name = config.SCALES, self.experiment.experiment
            here = scales.index(self.experiment.scale) if self.experiment.scale in scales else 0
            others = sorted(set(range(1, len(scales))) - {here}, key=lambda i: (i > here, abs(i - here)))
            scale = next((scales[i] for i in others if measured(scales[i], name)), scales[others[0]])
        return records(scale, self.experiment.experiment)

    def beside(self, experiment: str, scale: str | None = None) -> Records:
        """Another experiment at that scale; by default at this one's, or at the largest if it has no records there."""
        here = self.experiment.scale
        other = records(scale or (here if measured(here, experiment) else None), experiment)
        return replace(other, width=self.width if self.width in set(other.volumes["width"]) else None)

    def with_width(self, width: int | None) -> Records:
        """These and those of a width, to be marked in figures; one without records is trained and measured first, with the
        experiment's first seed. None adds nothing. Raises ConfigError if its networks diverged.
        """
        if width is None:
            return self
        chosen = [self.experiment.run(width, seed) for seed in self.experiment.seeds]
        if all(store.read(run) is None for run in chosen):
            self._measure(chosen[:1])
        found = store.explored(self.experiment)
        states = {record["status"] for record in found if record["config"]["width"] == width}
        if states == {"diverged"}:
            e = self.experiment
            raise ConfigError(f"{e.scale}/{e.name} w = {width} diverged: try a lower learning_rate.")
        return replace(self, found=tuple(found), width=width)

    def complete(self) -> Records:
        """These and what is missing of the experiment, trained and measured now: with kept weights it is measured alone.
        Raises ConfigError if it would take longer than `train_minutes`, saying how long.
        """
        if missing := self.missing:
            self._measure(missing)
        found = store.explored(self.experiment)
        others = [record for record in self.found if record["digest"] not in {other["digest"] for other in found}]
        return replace(self, found=(*found, *others))

    def _measure(self, runs: list[Run]) -> None:
        from . import single  # it needs PyTorch, which reading does not

        single.agreed(runs, self.train_minutes)
        for run in runs:
            single.measure(run)

    def _repr_html_(self) -> str:
        head = f"{self.experiment.scale}/{self.experiment.name}: {len(self)} of {len(self.experiment.runs())} runs"
        return f"<p>{html.escape(head)}</p>{self.summary().to_html(index=False)}"

    def __repr__(self) -> str:
        return f"{self.experiment.scale}/{self.experiment.name}\n{self.summary().to_string(index=False)}"

    def summary(self) -> pd.DataFrame:
        """A row per record: width, seed, status, errors at the last epoch in percent, device, date."""
        columns = "width", "seed", "status", "training error %", "test error %", "device", "date"
        rows = []
        for record in self:
            settings, origin, history = record["config"], record["provenance"], record["history"]
            last = (history[-1]["train_error"]["all"], history[-1]["test_error"]) if history else (None, None)
            rows.append(
                (
                    settings["width"],
                    settings["seed"],
                    record["status"],
                    *last,
                    origin["device_name"],
                    origin["end"][:10],
                )
            )
        return pd.DataFrame(rows, columns=columns)


def records(
    scale: str | None,
    experiment: str | os.PathLike[str],
    *,
    width: int | None = None,
    train_minutes: float | None = None,
    **fields: Any,
) -> Records:
    """An experiment's records; nothing is trained.

    Args:
        scale: demo, laptop, gpu, paper or one of your own; None: the largest at which the experiment `is_family`, or that has
            records of the width if one is given.
        experiment: the name of a params file in `params/<scale>/`, or a path to one.
        width: that `Records.with_width` will be asked for, which measures it if need be; here it says only which scale is meant.
        train_minutes: how long `with_width` and `complete` may train, by prediction, without being told so; None: two.
        fields: of the params file, set apart from it; None: as in the file.

    Raises:
        ConfigError: for an unknown name or value.
        RecordError: if a record cannot be used.

    Example:
        >>> runs = records("demo", "convnet-noise20")
        >>> len(runs), runs.threshold, sorted(set(runs.volumes.width))
        (5, 8, [1, 2, 4, 8, 16])
    """
    experiment = os.fspath(experiment)
    if scale is None and not experiment.endswith(".yaml"):
        scale = largest_scale(experiment, width)
    found = config.find(scale or "", experiment, fields)
    if train_minutes is not None and not (isinstance(train_minutes, int | float) and train_minutes >= 0):
        raise ConfigError(f"train_minutes is {train_minutes!r}: it must be a number of minutes.")
    minutes = TRAIN_MINUTES if train_minutes is None else train_minutes
    return Records(found, tuple(store.explored(found)), None, minutes)


def listed(found: Any) -> Sequence[Record]:
    """Records as a sequence. Raises RecordError if they are something else, such as a table."""
    records = found if isinstance(found, Sequence) or not isinstance(found, Iterable) else list(found)
    sound = isinstance(records, Sequence) and all(isinstance(r, Mapping) and "config" in r for r in records)
    if not sound:
        what = "figures of the paper and verdicts on its claims need records, such as records(scale, experiment)"
        raise RecordError(f"These are no records but a {type(found).__name__}: {what}.")
    return records


def planned(found: Sequence[Record], plan: Any) -> list[Record]:
    """The records of the plan's widths and seeds; all of them without one."""
    if plan is None:
        return list(found)
    return [r for r in found if r["config"]["width"] in plan.widths and r["config"]["seed"] in plan.seeds]


def largest_scale(experiment: str, width: int | None = None) -> str:
    """The largest scale at which an experiment, as its params file has it, `is_family`; if none: that has a record, or `demo`.

    With a width: the largest of those at which that width has a record. One without any is not trained for hours on all images because
    of a figure: it is meant at `laptop` scale, or at `demo` where that has no records.
    """
    there = [scale for scale in config.SCALES if measured(scale, experiment)]
    if width is not None:
        of_width = [scale for scale in there if measured(scale, experiment, width)]
        there = of_width or [scale for scale in there if scale in ("demo", "laptop")]
    there = [scale for scale in there if is_family(scale, experiment)] or there
    return there[-1] if there else config.SCALES[0]


def is_family(scale: str, experiment: str) -> bool:
    """Whether ten widths of an experiment have a record at a scale, or all that its params file has."""
    widths = _measured_widths(scale, experiment)
    return bool(widths) and len(widths) >= min(FAMILY, len(config.find(scale, experiment).widths))


def measured(scale: str, experiment: str, width: int | None = None) -> bool:
    """Whether an experiment, as its params file has it, has a record at a scale; of one width, or of any."""
    widths = _measured_widths(scale, experiment)
    return bool(widths) if width is None else width in widths


def _measured_widths(scale: str, experiment: str) -> set[int]:
    """The widths with a record, of those that its params file has; none without one."""
    if not locations.params_file(scale, experiment).is_file():
        return set()
    return {run.width for run in config.find(scale, experiment).runs() if store.path_of(run).exists()}
