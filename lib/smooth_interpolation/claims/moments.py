"""The end of training, which is not one moment: the last tenth of the epochs, and what was evaluated in it.

At a constant learning rate a network may still jump, so the last epoch alone is a snapshot. What is read off the end is
the mean over the moments at hand, those evaluated epochs e with 0.9 E < e <= E, E the last one; their range is kept. Many
records have ten such moments, some have one: the last epoch.
"""

from __future__ import annotations

import pandas as pd

LATE = 0.9
FORGOTTEN = 10  # percentage points of training error above the lowest
RUN = ["width", "seed"]
SERIES = ["metric", "subset", *RUN]


def late(history: pd.DataFrame) -> pd.Series:
    """Which rows of `tables.history_table` are of the last tenth of their run's epochs."""
    rounding = 1e-9
    return history.epoch > LATE * history.groupby(RUN).epoch.transform("max") + rounding


def at_end(history: pd.DataFrame) -> pd.DataFrame:
    """What the end of training was like: mean and range over its moments.

    Args:
        history: as `tables.history_table`.

    Returns:
        A row per metric, subset, width and seed. Columns: width, seed, metric, subset, epoch (the last), mean, low,
        high, moments (how many).

    Example:
        >>> rows = [(4, 0, e, "all", "test_error", v) for e, v in ((10, 70.0), (92, 40.0), (96, 44.0), (100, 42.0))]
        >>> table = at_end(pd.DataFrame(rows, columns=["width", "seed", "epoch", "subset", "metric", "value"]))
        >>> table[["mean", "low", "high", "moments"]].values.tolist()
        [[42.0, 40.0, 44.0, 3.0]]
    """
    found = history[late(history)].groupby(SERIES, as_index=False).agg(
        epoch=("epoch", "max"), mean=("value", "mean"), low=("value", "min"), high=("value", "max"), moments=("value", "size")
    )  # fmt: skip
    return found[[*RUN, "metric", "subset", "epoch", "mean", "low", "high", "moments"]]


def count(history: pd.DataFrame) -> int:
    """How many moments a run has at most; 1 at least."""
    return int(history[late(history)].groupby(SERIES).size().max()) if len(history) else 1


def forgotten(history: pd.DataFrame) -> list[int]:
    """Widths whose training error stays more than ten percentage points above its lowest throughout the end, in any seed.

    Example:
        >>> rows = [(4, 0, 10, 30.0), (4, 0, 100, 25.0), (8, 0, 10, 3.0), (8, 0, 100, 68.0)]
        >>> table = pd.DataFrame(rows, columns=["width", "seed", "epoch", "value"])
        >>> forgotten(table.assign(metric="train_error", subset="all"))
        [8]
    """
    errors = history[(history.metric == "train_error") & (history.subset == "all")]
    rise = errors[late(errors)].groupby(RUN).value.min() - errors.groupby(RUN).value.min()
    return sorted(rise[rise > FORGOTTEN].index.unique("width").tolist())


def settled(history: pd.DataFrame, moment: int | None = None, of: int = 1) -> pd.DataFrame:
    """The history with the last tenth of each run as one row, at its last epoch: the mean over the moments.

    Args:
        history: as `tables.history_table`.
        moment: instead of the mean, this one of them, from 0; a run that has fewer than `of` shares them out.
        of: how many there are.
    """
    at = late(history)
    ends = history[at].sort_values("epoch", kind="stable")
    groups = ends.groupby(SERIES)
    last = groups.epoch.transform("max")
    if moment is None:
        ends = ends.assign(value=groups.value.transform("mean"))[ends.epoch == last]
    else:
        chosen = moment * groups.value.transform("size") // of
        ends = ends.assign(epoch=last)[groups.cumcount() == chosen]
    return pd.concat([history[~at], ends]).sort_values([*SERIES, "epoch"], kind="stable")
