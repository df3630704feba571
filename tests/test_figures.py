"""Figures: they draw what the tables hold, in one visual language, and say it in words."""

import math
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection, PolyCollection

from smooth_interpolation import cli, config, errors, figures, locations
from smooth_interpolation.figures import alt_text, panels, paper, style
from smooth_interpolation.runs import store

ROOT = locations.repository()
LIMIT = 300_000  # bytes of an SVG
DISTINCT = ("fig1c", "fig2", "fig3", "fig5", "fig7b")  # the others differ from one of these by letters


@pytest.fixture(scope="module")
def records():
    return store.read_all(config.find("laptop", "convnet-noise20").runs(), ROOT / "results")


@pytest.fixture(scope="module")
def volumes(records):
    table = store.volumes_table(records)
    return table[table.seed == 0]


@pytest.fixture(scope="module")
def history(records):
    table = store.history_table(records)
    return table[table.seed == 0]


def by_group(history):
    """Test errors by class group, as under asymmetric noise: 95% and the whole test error."""
    whole = history[history.metric == "test_error"].assign(metric="test_error_by_group")
    corrupted = whole.assign(subset="corrupted_classes", value=95.0)
    return pd.concat([history, corrupted, whole.assign(subset="other_classes")])


def marks(panel, colour):
    return [line for line in panel.get_lines() if line.get_color() == colour]


def test_volumes_are_drawn_as_the_table_holds_them(volumes):
    drawn = paper.fig3(volumes, threshold=7, width=15)
    assert len(drawn.axes) == 8
    panel = drawn.axes[5]
    assert panel.get_title() == "Jacobian norm,\nnoisy labels"
    curve = volumes[(volumes.metric == "jacobian_norm") & (volumes.subset == "noisy") & (volumes["size"] == 2)]
    (line,) = [one for one in panel.get_lines() if one.get_label() == "2"]
    assert line.get_xdata().tolist() == sorted(curve.width.unique())
    assert line.get_ydata().tolist() == curve.sort_values("width")["mean"].tolist()
    for one in drawn.axes:
        (threshold,) = [line for line in one.get_lines() if line.get_label() == style.THRESHOLD]
        assert list(threshold.get_xdata()) == [7, 7] and threshold.get_linestyle() == ":"
        assert [15, 15] in [list(line.get_xdata()) for line in marks(one, style.ACCENT)]


def test_rows_of_clean_and_noisy_points_share_their_axes(volumes):
    axes = paper.fig7a(volumes).axes
    for clean, noisy in zip(axes[::2], axes[1::2], strict=True):
        assert clean.get_ylim() == noisy.get_ylim() and clean.get_yscale() == noisy.get_yscale()


def late(history, metric):
    """Width: the values in the last tenth of the epochs, by hand."""
    part = history[(history.metric == metric) & (history.subset == "all")]
    found = {}
    for (width, _), run in part.groupby(["width", "seed"]):
        found.setdefault(width, []).extend(run.value[run.epoch > 0.9 * run.epoch.max()])
    return found


def test_errors_are_means_over_the_last_tenth_of_the_epochs_with_their_range(history):
    test, training = paper.fig1c(history, threshold=7).axes
    for panel, metric in ((test, "test_error"), (training, "train_error")):
        values = late(history, metric)
        assert all(len(v) == 10 for v in values.values())
        assert panel.get_lines()[0].get_ydata() == pytest.approx([np.mean(values[w]) for w in sorted(values)])
        (ranges,) = (c for c in panel.collections if isinstance(c, LineCollection))
        drawn = {line[0][0]: sorted(point[1] for point in line) for line in ranges.get_segments()}
        assert sorted(drawn) == sorted(values)
        assert all(ends == pytest.approx([min(values[w]), max(values[w])]) for w, ends in drawn.items())
        low, high = panel.get_ylim()
        assert high - low >= 10
        assert low <= min(map(min, values.values())) and high >= max(map(max, values.values()))


def test_class_groups_have_a_panel_each(history):
    corrupted, untouched = paper.fig7b(by_group(history), threshold=7).axes
    assert corrupted.get_title() == "Corrupted classes" and untouched.get_title() == "Untouched classes"
    assert set(corrupted.get_lines()[0].get_ydata()) == {95.0}
    values = late(history, "test_error")
    assert untouched.get_lines()[0].get_ydata() == pytest.approx([np.mean(values[w]) for w in sorted(values)])
    low, high = corrupted.get_ylim()
    assert high - low >= 10  # what does not vary looks flat


def test_heatmaps_hold_the_table(history):
    drawn = paper.fig5(history, threshold=7)
    panel = drawn.axes[2]
    mesh = panel.collections[0]
    part = history[(history.metric == "jacobian_norm") & (history.subset == "all")]
    table = part.pivot_table(index="epoch", columns="width", values="value")
    assert mesh.get_array().shape == table.shape and math.isclose(mesh.get_array().max(), table.max(axis=None))
    assert panel.get_xscale() == panel.get_yscale() == "log"


@pytest.mark.parametrize("name", DISTINCT)
def test_seeds_are_shaded(name, volumes, history):
    kind = figures.FIGURES[name]
    table = volumes if kind.table == "volumes" else by_group(history)
    value = "mean" if kind.table == "volumes" else "value"
    other = table.assign(seed=1, **{value: table[value] * 1.02})
    both = kind.function(pd.concat([table, other]))
    if kind.function is paper.fig5:
        return  # a mean over seeds

    def bands(drawn):
        return [sum(isinstance(c, PolyCollection) for c in panel.collections) for panel in drawn.axes]

    assert not any(bands(kind.function(table)))
    sizes = table["size"].nunique() if kind.table == "volumes" else 1
    assert bands(both) == [sizes] * len(both.axes)


@pytest.mark.parametrize("name", DISTINCT)
def test_every_figure_is_of_the_visual_language(name, volumes, history, tmp_path):
    kind = figures.FIGURES[name]
    table = volumes if kind.table == "volumes" else by_group(history)
    for part in (table, table[table.width == 8], table.iloc[:0]):
        drawn = kind.function(part, threshold=8, width=8)
        assert drawn.get_size_inches()[0] == style.WIDTH
        panels = [panel for panel in drawn.axes if panel.get_label() != "<colorbar>"]
        assert panels[0].get_title(loc="left") and all(panel.get_title() for panel in panels)
        if part.empty:
            assert any("nothing measured" in text.get_text() for text in panels[0].texts)
            assert alt_text.describe(drawn) == "An empty figure: nothing measured yet."
        else:
            assert all(marks(panel, style.ACCENT) for panel in panels)
            assert all(panel.get_xlabel() == "base width $w$" for panel in panels[-2:])
            text = alt_text.describe(drawn)
            assert "w = 8" in text and f"{len(panels)} panels" in text and text.endswith("threshold, w = 8.")
    path = tmp_path / "figure.svg"
    figures.save(kind.function(table, threshold=8, width=8), path)
    first = path.read_bytes()
    assert len(first) < LIMIT and ElementTree.fromstring(first).get("viewBox")
    figures.save(kind.function(table, threshold=8, width=8), path)
    assert path.read_bytes() == first


def test_alternative_text_says_where_curves_begin_peak_and_end(volumes, history):
    text = alt_text.describe(paper.fig2(volumes, threshold=7))
    part = volumes[(volumes.metric == "jacobian_norm") & (volumes.subset == "all") & (volumes["size"] == 6)]
    curve = part.set_index("width")["mean"]
    words = f"over 6 augmentations from {curve.iloc[0]:.3g} at w = 1, up to {curve.max():.3g} at w = {curve.idxmax()}"
    assert f"{words}, to {curve.iloc[-1]:.3g} at w = 24" in text
    errors_ = history[history.metric == "test_error"].assign(
        value=lambda t: t.width.map({1: 60, 2: 50, 3: 60}).fillna(40)
    )
    text = alt_text.describe(paper.fig1c(errors_))
    assert "Test error: from 60 at w = 1, down to 50 at w = 2, up to 60 at w = 3, to 40 at w = 24." in text
    part = history[(history.metric == "test_error") & (history.subset == "all")]
    lowest = part.loc[part.value.idxmin()]
    text = alt_text.describe(paper.fig5(history))
    assert f"lowest {lowest.value:.3g} at w = {lowest.width}, epoch {lowest.epoch}" in text
    assert "threshold" not in text


def test_alternative_text_names_cells_that_exist():
    """The borders of a cell lie in the middle of two widths, its own width does not lie in the middle of its borders."""
    table = pd.DataFrame([[3.0, 2.0, 1.0], [4.0, 5.0, 9.0]], index=[1, 1200], columns=[12, 16, 32])
    drawn, axes = style.subplots(1, 1, 2)
    panels.heatmap(drawn, axes[0, 0], table, logarithmic=True, threshold=None, width=None)
    text = alt_text.describe(drawn)
    assert "lowest 1 at w = 32, epoch 1 and highest 9 at w = 32, epoch 1200" in text


def test_colours_are_seen_on_white():
    for name in ("ACCENT", "TEST", "TRAIN", "CORRUPTED", "INK"):
        rgb = [
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(getattr(style, name))
        ]
        luminance = 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]
        assert 1.05 / (luminance + 0.05) >= 3, name


@pytest.mark.parametrize("name", DISTINCT)
def test_the_data_behind_a_figure_are_what_it_draws(name, records):
    whole = store.history_table(records) if figures.FIGURES[name].table == "history" else store.volumes_table(records)
    table = figures.data(name, whole)
    drawn = figures.draw(name, records, width=15)
    if name == "fig7b":
        assert table.empty
        return
    assert not table.empty
    panels = [panel for panel in drawn.axes if panel.get_label() != "<colorbar>"]
    assert set(table.width) == {r["config"]["width"] for r in records}
    if figures.FIGURES[name].function is not figures.fig5:
        column = "mean" if "mean" in table else "value"
        beside = ("seed", column, "std", "low", "high", "moments")
        means = set(table.groupby([c for c in table if c not in beside])[column].mean().round(9))
        for panel in panels:
            for line in panel.get_lines():
                if not line.get_label().startswith("_") and line.get_label() != style.THRESHOLD:
                    assert set(pd.Series(line.get_ydata()).round(9)) <= means


@pytest.mark.parametrize("name", DISTINCT)
def test_the_command_draws_every_figure(name, tmp_path, capsys):
    path = tmp_path / "figure.svg"
    params = ROOT / f"params/demo/{'convnet-asymmetric' if name.startswith('fig7') else 'convnet-noise20'}.yaml"
    with pytest.raises(SystemExit) as end:
        cli.app(["figure", name, str(params), "--output", str(path), "--width", "4"])
    assert end.value.code == 0 and path.stat().st_size < LIMIT
    assert "5 of 5 runs" in " ".join(capsys.readouterr().out.split())


def test_letters_follow_the_paper(volumes, history):
    first = {"fig1d": "d", "fig4": "a", "fig6a": "a", "fig6b": "b1", "fig7a": "a1", "fig7b": "b"}
    for name, letter in first.items():
        kind = figures.FIGURES[name]
        table = volumes if kind.table == "volumes" else by_group(history)
        assert kind.function(table).axes[0].get_title(loc="left") == letter


def test_the_command_names_what_it_knows(tmp_path):
    with pytest.raises(errors.ConfigError, match="'fig9' is not known; did you mean"):
        cli.app(["figure", "fig9", "params/demo/convnet-noise20.yaml", "--output", str(tmp_path / "x.svg")])


def test_the_page_on_reproducing_names_every_figure():
    text = (ROOT / "book" / "reproduce.md").read_text()
    assert [name for name in (*figures.FIGURES, "fig1ab") if f"`{name}`" not in text] == ["fig3", "fig4"]
