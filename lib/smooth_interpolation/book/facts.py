"""Numbers for sentences: what a page's prose says of its records is filled in from them, never typed.

A sentence is a template, such as "From w = {threshold} on the test error falls to {test.last}%." Its fields are the
attributes of `Facts`; each curve over width (a mean over seeds) has those of `Curve`.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable
from functools import cached_property
from types import SimpleNamespace
from typing import Any

import pandas as pd

from ..claims import checks, moments, trends
from ..claims.words import number
from ..config import Experiment
from ..errors import ConfigError
from ..runs import record_format, store, tables
from ..runs.records import planned

UNKNOWN = "(not measured)"
COURSES = {
    "test": "test_error",
    "loss": "train_crossentropy",
    "jacobian": "jacobian_norm",
    "hessian": "tangent_hessian_norm",
}


# What can be said of a curve, of its values by width or epoch; names with `_at` say where, names with `share` a percentage.
OF_CURVES: dict[str, Callable[[pd.Series], Any]] = {
    "first": lambda values: values.iloc[0],  # of the narrowest network
    "last": lambda values: values.iloc[-1],  # of the widest network
    "lowest": lambda values: values.min(),
    "lowest_at": lambda values: values.idxmin(),
    "highest": lambda values: values.max(),
    "highest_at": lambda values: values.idxmax(),
    "rebound": lambda values: values.loc[values.idxmin() :].max(),  # the highest value after the lowest one
    "rebound_at": lambda values: values.loc[values.idxmin() :].idxmax(),
    "fall": lambda values: values.max() / values.iloc[-1] if values.iloc[-1] else float("inf"),  # highest over widest
    "share": lambda values: values.iloc[-1],
    "first_share": lambda values: values.iloc[0],
}
# The same of a curve with a peak, as `trends` has it, at its i-th value.
OF_PEAKS: dict[str, Callable[[pd.Series, int], Any]] = {
    "peak": lambda values, i: values.iloc[i],
    "peak_at": lambda values, i: values.index[i],
    "dip": lambda values, i: values.iloc[:i].min(),  # the lowest value before the peak
    "dip_at": lambda values, i: values.iloc[:i].idxmin(),
    "drop": lambda values, i: values.iloc[i] - values.iloc[-1],  # from the peak to the end, as a difference
}


class Curve:
    """A metric over width or epoch, as text for sentences, with two significant digits.

    Its fields are `at_threshold` and the names of `OF_CURVES` and `OF_PEAKS`.
    """

    def __init__(self, values: pd.Series, threshold: int | None = None, percent: bool = False):
        self._values, self._percent = values.dropna().sort_index(), percent
        self.at_threshold = self.at(str(threshold))

    def __getattr__(self, name: str) -> str:
        if name in OF_CURVES:
            return UNKNOWN if self._values.empty else self._said(name, OF_CURVES[name](self._values))
        if name in OF_PEAKS:
            return UNKNOWN if self._peak is None else self._said(name, OF_PEAKS[name](self._values, self._peak))
        raise AttributeError(name)

    def at(self, place: str) -> str:
        """At a width or epoch that another curve named."""
        known = place.isdigit() and int(place) in self._values.index
        return self._said("at", float(self._values[int(place)])) if known else UNKNOWN

    def _said(self, name: str, value: Any) -> str:
        if name.endswith("_at"):
            return str(value)
        if name.endswith("share"):
            return "more than 99%" if 0.99 < value < 1 else f"{number(100 * value)}%"
        return number(value)

    @cached_property
    def _peak(self) -> int | None:
        top = trends.peak(self._values, trends.POINTS) if self._percent else trends.log_peak(self._values)
        return None if top is None else int(self._values.index.get_loc(top.at))


def around(volumes: pd.DataFrame, threshold: int | None) -> SimpleNamespace:
    """A metric around `all`, `clean` and `noisy` points: at the points (`point`) and over the largest volume (`volume`)."""
    found = {}
    for subset in record_format.SUBSETS:
        table = volumes[volumes.subset == subset].pivot_table(index="width", columns="size", values="mean")
        curves = [table[size] for size in sorted(table)] or [pd.Series(dtype=float)]
        found[subset] = SimpleNamespace(point=Curve(curves[0], threshold), volume=Curve(curves[-1], threshold))
    return SimpleNamespace(**found)


def course(history: pd.DataFrame, width: str) -> SimpleNamespace:
    """One width over the epochs: the curves `test`, `loss`, `jacobian` and `hessian`, the latter at training points."""
    part = history[(history.width.astype(str) == width) & (history.subset == "all")]
    means = {name: part[part.metric == metric].groupby("epoch").value.mean() for name, metric in COURSES.items()}
    return SimpleNamespace(**{name: Curve(curve, percent=name == "test") for name, curve in means.items()})


class Facts:
    """Everything that a template can name.

    `threshold` or, where there is none, `unfitted`, the percentage of labels that the widest network misses;
    `narrowest`, `widest`, `n_seeds`, `n_widths`, `n_train`, `n_test`, `epochs`; the errors at the end of training `test`, `training`, `corrupted` and `untouched` (test errors by class group), each a `Curve`; what is `around` points of
    `accuracy`, `crossentropy`, `jacobian`, `hessian`, `residual` and `sensitivity`: "{jacobian.noisy.volume.highest_at}"; and the `course` over
    the epochs of the `wide` network, and of the `peaked` one, at the peak of the test error; the widths that have `forgotten` what
    they had fitted, of which nothing else is said. What is said of the end of training is the mean over its moments, see `moments`.

    Args:
        records: of an experiment.
        plan: its widths and seeds; nothing is said of other records.
    """

    def __init__(self, records: Iterable[record_format.Record], plan: Experiment | None = None):
        records = planned(list(records), plan)
        self._threshold = store.threshold_of(records)
        history, volumes = tables.history_table(records), tables.volumes_table(records)
        forgotten = moments.forgotten(history)
        self.forgotten = checks.listed(forgotten) or UNKNOWN
        self._history = moments.settled(history[~history.width.isin(forgotten)])
        self._volumes = volumes[~volumes.width.isin(forgotten)]
        widths = sorted(self._history.width.unique())
        self.threshold = str(self._threshold or UNKNOWN)
        self.narrowest, self.widest = (str(widths[0]), str(widths[-1])) if widths else (UNKNOWN, UNKNOWN)
        self.n_widths, self.n_seeds = str(len(widths)), str(self._history.seed.nunique())
        first = records[0] if records else {"data": {}, "config": {}}
        self.n_train, self.n_test = (f"{first['data'].get(name, 0):,}" for name in ("n_train", "n_test"))
        self.epochs = f"{first['config'].get('epochs', 0):,}"

    def __getattr__(self, name: str) -> Any:
        if name not in OF_RECORDS:
            raise AttributeError(name)
        return self.__dict__.setdefault(name, OF_RECORDS[name](self))

    def fill(self, template: str) -> str:
        """The template with its fields filled in, "w = 7" without a break.

        Raises:
            ConfigError: for a field that is no fact.
        """
        named = {name.split(".")[0] for _, name, _, _ in string.Formatter().parse(template) if name}
        try:
            return unbroken(template.format(**{name: getattr(self, name) for name in named}))
        except (AttributeError, KeyError) as error:
            raise ConfigError(f"A sentence names what is no fact: {error}") from None


def known(text: str) -> str:
    """A filled template; nothing if one of its fields was not measured."""
    return "" if UNKNOWN in text else text


def duration(seconds: float) -> str:
    """With two significant digits, in the largest unit of which there is one, in days from two of them on.

    Example:
        >>> duration(1430), duration(24 * 3600), duration(11.1 * 86400)
        ('24\\xa0min', '24\\xa0h', '11\\xa0days')
    """
    for size, unit, least in ((86400, "days", 2), (3600, "h", 1), (60, "min", 1)):
        if seconds >= least * size:
            return f"{number(seconds / size)}\N{NO-BREAK SPACE}{unit}"
    return f"{number(seconds)}\N{NO-BREAK SPACE}s"


def unbroken(text: str) -> str:
    """With no-break spaces in "w = 7" and its kin."""
    return re.sub(r"\b([wPMk]) = (?=\d)", "\\1\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}", text)


def _error(metric: str, subset: str = "all") -> Callable[[Facts], Curve]:
    def curve(facts: Facts) -> Curve:
        last = store.last_epoch(facts._history, metric, subset)
        return Curve(last.groupby("width").value.mean(), facts._threshold, percent=True)

    return curve


def _around(metric: str) -> Callable[[Facts], SimpleNamespace]:
    return lambda facts: around(facts._volumes[facts._volumes.metric == metric], facts._threshold)


OF_RECORDS: dict[str, Callable[[Facts], Any]] = {
    "test": _error("test_error"),
    "training": _error("train_error"),
    "corrupted": _error("test_error_by_group", "corrupted_classes"),
    "untouched": _error("test_error_by_group", "other_classes"),
    "unfitted": lambda facts: UNKNOWN if facts._threshold else facts.training.last,
    "training_at_test_peak": lambda facts: facts.training.at(facts.test.peak_at),
    "wide": lambda facts: course(facts._history, facts.widest),
    "peaked": lambda facts: course(facts._history, facts.test.peak_at),
    "accuracy": _around("accuracy"),
    "crossentropy": _around("crossentropy"),
    "jacobian": _around("jacobian_norm"),
    "hessian": _around("tangent_hessian_norm"),
    "residual": _around("residual_norm"),
    "sensitivity": _around("sensitivity"),
}
