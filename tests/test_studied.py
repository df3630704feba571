"""What other pages say of the studies beyond the paper: in the words that the numbers call for, and nothing without them."""

import pandas as pd
import pytest

from smooth_interpolation import config
from smooth_interpolation.book import studied
from smooth_interpolation.errors import RecordError
from smooth_interpolation.studies import beyond

LAPTOP = config.find("laptop", "convnet-noise20")


def made_up(monkeypatch, **tables):
    def read(name, scale, experiment):
        if scale != "laptop" or name not in tables:
            raise RecordError("There is none.")
        return beyond.Study(name, LAPTOP, pd.DataFrame(tables[name]), {}, {})

    monkeypatch.setattr(beyond, "read", read)


def test_nothing_is_said_without_a_study(monkeypatch):
    made_up(monkeypatch)
    assert studied.step_error() is None and studied.wrong_labels_along_shifts() is None


def test_the_error_of_the_papers_step_is_a_range_over_widths(monkeypatch):
    errors = {"metric": "error, float64", "factor": 1.0, "width": [2, 2, 24], "value": [13.0, 13.2, 0.684]}
    made_up(monkeypatch, curvature=errors)
    assert "of 68% to 1,300%, over the widths, at `laptop` scale" in studied.step_error().data


@pytest.mark.parametrize(
    ("shift", "title"), [(0.3, "Not along shifts."), (0.6, "Less along shifts."), (0.95, "Along shifts, too.")]
)
def test_the_title_follows_the_share(shift, title, monkeypatch):
    rows = [
        {"path_kind": kind, "size": size, "width": w, "seed": seed, "metric": "accuracy", "subset": subset, "value": value}
        for kind, sizes, value in (("svd", (1, 6), 0.99), ("shift", (1, 4), shift))
        for size in sizes for w in (1, 24) for seed in (1, 2) for subset in ("clean", "noisy")
    ]  # fmt: skip
    made_up(monkeypatch, paths=rows)
    assert studied.wrong_labels_along_shifts().data.startswith(f"**{title}** At w\xa0=\xa024 ")
