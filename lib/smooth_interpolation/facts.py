"""Numbers for sentences: what a page's prose says of its records is filled in from them, never typed.

A sentence is a template, such as "From w = {threshold} on the test error falls to {test.last}%." Its fields are the
attributes of `Facts`; each curve over width (a mean over seeds) has those of `Curve`.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cached_property

import pandas as pd

from . import moments, store, trends
from .errors import ConfigError
from .evidence import Plan, planned

UNKNOWN = "(not measured)"
COURSES = {
    "test": "test_error",
    "loss": "train_crossentropy",
    "jacobian": "jacobian_norm",
    "hessian": "tangent_hessian_norm",
}


class Curve:
    """A metric over width or epoch, as text for sentences: three significant digits, or one decimal for percentages."""

    def __init__(self, values: pd.Series, threshold: int | None = None, percent: bool = False):
        self._values, self._threshold = values.dropna().sort_index(), threshold
        self._percent = percent

    def _said(self, value: float | None) -> str:
        if value is None:
            return UNKNOWN
        if self._percent:
            return f"{value:.1f}"
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"

    def _or_unknown(self, choose) -> str:
        return UNKNOWN if self._values.empty else self._said(choose(self._values))

    @property
    def first(self) -> str:
        """Of the narrowest network."""
        return self._or_unknown(lambda values: values.iloc[0])

    @property
    def last(self) -> str:
        """Of the widest network."""
        return self._or_unknown(lambda values: values.iloc[-1])

    @property
    def lowest(self) -> str:
        return self._or_unknown(lambda values: values.min())

    @property
    def highest(self) -> str:
        return self._or_unknown(lambda values: values.max())

    @property
    def lowest_at(self) -> str:
        return UNKNOWN if self._values.empty else str(self._values.idxmin())

    @property
    def highest_at(self) -> str:
        return UNKNOWN if self._values.empty else str(self._values.idxmax())

    @property
    def at_threshold(self) -> str:
        known = self._threshold in self._values.index
        return self._said(float(self._values[self._threshold])) if known else UNKNOWN

    @cached_property
    def _peak(self) -> int | None:
        """Where among the values its peak is, as `trends` has it."""
        top = trends.peak(self._values, trends.POINTS) if self._percent else trends.log_peak(self._values)
        return None if top is None else int(self._values.index.get_loc(top.at))

    @property
    def peak(self) -> str:
        i = self._peak
        return UNKNOWN if i is None else self._said(self._values.iloc[i])

    @property
    def peak_at(self) -> str:
        i = self._peak
        return UNKNOWN if i is None else str(self._values.index[i])

    @property
    def dip(self) -> str:
        """The lowest value before the peak."""
        i = self._peak
        return UNKNOWN if i is None else self._said(self._values.iloc[:i].min())

    @property
    def dip_at(self) -> str:
        i = self._peak
        return UNKNOWN if i is None else str(self._values.iloc[:i].idxmin())

    @property
    def drop(self) -> str:
        """From the peak to the end, as a difference."""
        i = self._peak
        return UNKNOWN if i is None else self._said(self._values.iloc[i] - self._values.iloc[-1])

    @property
    def rebound(self) -> str:
        """The highest value after the lowest one."""
        return self._or_unknown(lambda values: values.loc[values.idxmin() :].max())

    @property
    def rebound_at(self) -> str:
        return UNKNOWN if self._values.empty else str(self._values.loc[self._values.idxmin() :].idxmax())

    def at(self, place: str) -> str:
        """At a width or epoch that another curve named."""
        known = place.isdigit() and int(place) in self._values.index
        return self._said(float(self._values[int(place)])) if known else UNKNOWN

    @property
    def fall(self) -> str:
        """The highest value over the widest network's."""
        return self._or_unknown(lambda values: values.max() / values.iloc[-1] if values.iloc[-1] else float("inf"))

    @property
    def share(self) -> str:
        """The widest network's value as a percentage."""
        return UNKNOWN if self._values.empty else f"{self._values.iloc[-1]:.1%}"

    @property
    def first_share(self) -> str:
        """The narrowest network's value as a percentage."""
        return UNKNOWN if self._values.empty else f"{self._values.iloc[0]:.1%}"


class Place:
    """A metric at the points (`point`) and over the largest volume (`volume`)."""

    def __init__(self, volumes: pd.DataFrame, threshold: int | None):
        sizes = sorted(volumes["size"].unique())
        curves = [volumes[volumes["size"] == size].groupby("width")["mean"].mean() for size in sizes]
        none = pd.Series(dtype=float)
        self.point = Curve(curves[0] if curves else none, threshold)
        self.volume = Curve(curves[-1] if curves else none, threshold)


class Subsets:
    """A metric around `all`, `clean` and `noisy` points, each a `Place`."""

    def __init__(self, volumes: pd.DataFrame, threshold: int | None):
        self.all, self.clean, self.noisy = (Place(volumes[volumes.subset == s], threshold) for s in store.SUBSETS)


class Course:
    """One width over the epochs: the curves `test`, `loss`, `jacobian` and `hessian`, the latter at training points."""

    def __init__(self, history: pd.DataFrame, width: str):
        part = history[(history.width.astype(str) == width) & (history.subset == "all")]
        for name, metric in COURSES.items():
            curve = part[part.metric == metric].groupby("epoch").value.mean()
            setattr(self, name, Curve(curve, percent=name == "test"))


class Facts:
    """Everything that a template can name.

    `threshold`, `narrowest`, `widest`, `n_seeds`, `n_widths`, `n_train`, `n_test`, `epochs`; the errors at the end of
    training `test`, `training`, `corrupted` and `untouched` (test errors by class group), each a `Curve`; `accuracy`,
    `crossentropy`, `jacobian` and `hessian`, each a `Subsets`: "{jacobian.noisy.volume.highest_at}"; and the courses over
    the epochs of the `wide` network, and of the `peaked` one, at the peak of the test error, each a `Course`. What is said
    of the end of training is the mean over its moments, see `moments`.

    Args:
        records: of an experiment.
        plan: its widths and seeds; nothing is said of other records.
    """

    def __init__(self, records: Iterable[store.Record], plan: Plan | None = None):
        records = planned(records, plan)
        history, self._volumes = store.history_table(records), store.volumes_table(records)
        reached = store.threshold_of(records)
        self._history = moments.settled(history)
        self._threshold = reached
        widths = sorted(self._history.width.unique())
        self.threshold = UNKNOWN if reached is None else str(reached)
        self.narrowest, self.widest = (str(widths[0]), str(widths[-1])) if widths else (UNKNOWN, UNKNOWN)
        self.n_widths, self.n_seeds = str(len(widths)), str(self._history.seed.nunique())
        first = records[0] if records else {"data": {}, "config": {}}
        self.n_train, self.n_test = (f"{first['data'].get(name, 0):,}" for name in ("n_train", "n_test"))
        self.epochs = f"{first['config'].get('epochs', 0):,}"

    def _error(self, metric: str, subset: str = "all") -> Curve:
        last = store.last_epoch(self._history, metric, subset)
        return Curve(last.groupby("width").value.mean(), self._threshold, percent=True)

    @cached_property
    def test(self) -> Curve:
        return self._error("test_error")

    @cached_property
    def training(self) -> Curve:
        return self._error("train_error")

    @cached_property
    def corrupted(self) -> Curve:
        return self._error("test_error_by_group", "corrupted_classes")

    @cached_property
    def untouched(self) -> Curve:
        return self._error("test_error_by_group", "other_classes")

    @cached_property
    def training_at_test_peak(self) -> str:
        return self.training.at(self.test.peak_at)

    @cached_property
    def wide(self) -> Course:
        return Course(self._history, self.widest)

    @cached_property
    def peaked(self) -> Course:
        return Course(self._history, self.test.peak_at)

    def _metric(self, metric: str) -> Subsets:
        return Subsets(self._volumes[self._volumes.metric == metric], self._threshold)

    @cached_property
    def accuracy(self) -> Subsets:
        return self._metric("accuracy")

    @cached_property
    def crossentropy(self) -> Subsets:
        return self._metric("crossentropy")

    @cached_property
    def jacobian(self) -> Subsets:
        return self._metric("jacobian_norm")

    @cached_property
    def hessian(self) -> Subsets:
        return self._metric("tangent_hessian_norm")

    def fill(self, template: str) -> str:
        """The template with its fields filled in.

        Raises:
            ConfigError: for a field that is no fact.
        """
        try:
            return template.format_map(_Fields(self))
        except (AttributeError, KeyError) as error:
            raise ConfigError(f"A sentence names what is no fact: {error}") from None


class _Fields(dict):
    def __init__(self, facts: Facts):
        super().__init__()
        self.facts = facts

    def __missing__(self, name: str):
        return getattr(self.facts, name)
