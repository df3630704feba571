"""Figures: they draw what the tables hold, in one visual language, and say it in words."""

import copy
import math
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import LineCollection

from smooth_interpolation import cli, config, errors, figures, locations
from smooth_interpolation.book import performance, predictions
from smooth_interpolation.figures import alt_text, files, heatmaps, panels, paper, style
from smooth_interpolation.runs import store, tables
from smooth_interpolation.runs.records import records as records_of

ROOT = locations.repository()
LIMIT = 300_000  # bytes of an SVG
DISTINCT = ("fig1c", "fig2", "fig3-parts", "fig3", "fig5", "fig7b")  # the others differ from one of these by letters


@pytest.fixture(scope="module")
def records():
    return store.read_all(config.find("laptop", "convnet-noise20").runs(), ROOT / "results")


@pytest.fixture(scope="module")
def volumes(records):
    table = tables.volumes_table(records)
    return table[table.seed == 0]


@pytest.fixture(scope="module")
def history(records):
    table = tables.history_table(records)
    return table[table.seed == 0]


def by_group(history):
    """Test errors by class group, as under asymmetric noise: 95% and the whole test error."""
    whole = history[history.metric == "test_error"].assign(metric="test_error_by_group")
    corrupted = whole.assign(subset="corrupted_classes", value=95.0)
    return pd.concat([history, corrupted, whole.assign(subset="other_classes")])


def marks(panel, colour):
    return [line for line in panel.get_lines() if line.get_color() == colour]


def drawn_panels(figure):
    return [panel for panel in figure.axes if panel.get_label() != "<colorbar>"]


@pytest.mark.parametrize("narrow", [False, True])
def test_volumes_are_drawn_as_the_table_holds_them(volumes, narrow):
    drawn = figures.FIGURES["fig3"].function(volumes, threshold=7, width=15, narrow=narrow)
    assert len(drawn.axes) == 8
    (panel,) = [panel for panel in drawn.axes if panel.get_label() == "Jacobian norm, noisy"]
    curve = volumes[(volumes.metric == "jacobian_norm") & (volumes.subset == "noisy") & (volumes["size"] == 2)]
    (line,) = [one for one in panel.get_lines() if one.get_label() == "10"]
    assert line.get_xdata().tolist() == sorted(curve.width.unique())
    assert line.get_ydata().tolist() == curve.sort_values("width")["mean"].tolist()
    for one in drawn.axes:
        (threshold,) = [line for line in one.get_lines() if line.get_label() == style.THRESHOLD]
        assert list(threshold.get_xdata()) == [7, 7] and threshold.get_linestyle() == ":"
        assert [15, 15] in [list(line.get_xdata()) for line in marks(one, style.ACCENT)]
        names = [text.get_text() for text in one.texts if text.get_text().isdigit()]
        assert sorted(names, key=int) == ["0", "5", "10", "15", "20", "22", "25"]
    heads = [panel.get_title() for panel in drawn.axes if panel.get_title()]
    sides = [panel.get_ylabel() for panel in drawn.axes if panel.get_ylabel()]
    metrics, subsets = list(figures.PANELS.values()), ["clean labels", "noisy labels"]
    units = ["share of points", "nats", "nats per unit of input", "as Equation 5"]
    if narrow:
        assert (heads, sides) == (subsets, [",\n".join(both) for both in zip(metrics, units, strict=True)])
    else:
        assert (heads, sides) == (metrics, subsets)
        assert [text.get_text() for one in drawn.axes for text in one.texts if text.get_text() in units] == units


@pytest.mark.parametrize("narrow", [False, True])
def test_clean_and_noisy_points_share_their_axes(volumes, narrow):
    axes = {panel.get_label(): panel for panel in figures.FIGURES["fig7a"].function(volumes, narrow=narrow).axes}
    for title in figures.PANELS.values():
        assert axes[f"{title}, clean"].get_ylim() == axes[f"{title}, noisy"].get_ylim()


@pytest.mark.parametrize("yscale", ["linear", "log"])
def test_no_line_leaves_its_axes(records, yscale):
    table = tables.volumes_table(records)
    for panel in figures.FIGURES["fig3"].function(table, yscale=yscale).axes:
        low, high = panel.get_ylim()
        assert (low == 0) == (panel.get_yscale() == "linear")
        lines = [line for line in panel.get_lines() if line.get_label() == "_seed" or line.get_label().isdigit()]
        assert len(lines) == 7 * (1 + 3)
        assert all(((low <= line.get_ydata()) & (line.get_ydata() <= high)).all() for line in lines)
        assert panel.get_yscale() == ("linear" if panel.get_label().startswith("Training accuracy") else yscale)


def test_parts_of_the_jacobian_are_drawn_from_records_that_hold_them(volumes):
    drawn = figures.FIGURES["fig2-parts"].function(volumes)
    assert [panel.get_title() for panel in drawn.axes] == ["Residual norm", "Sensitivity"]
    without = volumes.assign(mean=volumes["mean"].where(~volumes.metric.isin(figures.PARTS)))
    assert (
        alt_text.describe(figures.FIGURES["fig2-parts"].function(without)) == "An empty figure: nothing measured yet."
    )


def test_a_width_without_measurements_is_not_marked(volumes, history):
    for drawn in (
        figures.FIGURES["fig2"].function(volumes, width=16),
        figures.FIGURES["fig1c"].function(history, width=16),
        figures.FIGURES["fig5"].function(history, width=16),
    ):
        assert not any(marks(panel, style.ACCENT) for panel in drawn.axes)
        assert "Marked" not in alt_text.describe(drawn)


def test_names_at_ends_do_not_touch():
    found = panels.spread(np.array([0.0, 0.0, 0.01, 0.5, 0.97, 1.0, 1.0]), 0.1)
    assert (np.diff(found) >= 0.1 - 1e-9).all() and found.min() >= 0 and found.max() <= 1 + 1e-9
    assert found[3] == 0.5


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("threshold", [2, 7, 18, 24])
def test_ticks_name_the_ends_and_the_threshold_and_do_not_touch(volumes, threshold, narrow):
    drawn = figures.FIGURES["fig3"].function(volumes, threshold=threshold, narrow=narrow)
    drawn.draw_without_rendering()
    panel = drawn.axes[-1]
    shown = [label for label in panel.get_xticklabels() if label.get_text()]
    assert {"1", str(threshold), "24"} <= {label.get_text() for label in shown}
    boxes = sorted((label.get_window_extent().x0, label.get_window_extent().x1) for label in shown)
    assert all(right <= left for (_, right), (left, _) in zip(boxes, boxes[1:], strict=False))


def test_the_axis_of_widths_follows_their_grid():
    assert style.geometric([1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 15, 18, 24]) and style.geometric([1, 2, 4, 8, 16])
    assert not style.geometric(range(1, 65)) and not style.geometric([4, 8, 16]) and not style.geometric([3])


def late(history, metric):
    """Width: the values in the last tenth of the epochs, by hand."""
    part = history[(history.metric == metric) & (history.subset == "all")]
    found = {}
    for (width, _), run in part.groupby(["width", "seed"]):
        found.setdefault(width, []).extend(run.value[run.epoch > 0.9 * run.epoch.max()])
    return found


def test_errors_are_means_over_the_last_tenth_of_the_epochs_with_their_range(history):
    (panel,) = figures.FIGURES["fig1c"].function(history, threshold=7).axes
    bars = [c for c in panel.collections if isinstance(c, LineCollection)]
    for metric, name, ranges in zip(("test_error", "train_error"), ("test error", "training error"), bars, strict=True):
        values = late(history, metric)
        assert all(len(v) == 10 for v in values.values())
        (line,) = [line for line in panel.get_lines() if line.get_label() == name]
        assert line.get_ydata() == pytest.approx([np.mean(values[w]) for w in sorted(values)])
        assert name in [text.get_text() for text in panel.texts]
        drawn = {line[0][0]: sorted(point[1] for point in line) for line in ranges.get_segments()}
        assert sorted(drawn) == sorted(values)
        assert all(ends == pytest.approx([min(values[w]), max(values[w])]) for w, ends in drawn.items())
        low, high = panel.get_ylim()
        assert high - low >= 10
        assert low <= min(map(min, values.values())) and high >= max(map(max, values.values()))


def test_class_groups_share_a_panel(history):
    (panel,) = figures.FIGURES["fig7b"].function(by_group(history), threshold=7).axes
    lines = {line.get_label(): line.get_ydata() for line in panel.get_lines()}
    assert set(lines["corrupted classes"]) == {95.0}
    values = late(history, "test_error")
    assert lines["untouched classes"] == pytest.approx([np.mean(values[w]) for w in sorted(values)])
    low, high = panel.get_ylim()
    assert high - low >= 10  # what does not vary looks flat


@pytest.mark.parametrize("narrow", [False, True])
def test_heatmaps_hold_the_table(history, narrow):
    drawn = drawn_panels(figures.FIGURES["fig5"].function(history, threshold=7, narrow=narrow))
    panel, courses = [panel for panel in drawn if panel.get_label() == "Jacobian norm"]
    mesh = panel.collections[0]
    part = history[(history.metric == "jacobian_norm") & (history.subset == "all")]
    table = part.pivot_table(index="epoch", columns="width", values="value")
    assert mesh.get_array().shape == table.shape and math.isclose(mesh.get_array().max(), table.max(axis=None))
    assert panel.get_xscale() == panel.get_yscale() == courses.get_xscale() == "log"
    assert mesh.norm.vmax == pytest.approx(np.quantile(table, 0.9)) and mesh.colorbar.extend == "max"
    (edge,) = [line.get_xdata()[0] for line in panel.get_lines() if line.get_label() == style.THRESHOLD]
    assert edge == pytest.approx(math.sqrt(6 * 7))  # between the threshold's column and the one before
    names = [line.get_label() for line in courses.get_lines() if not line.get_label().startswith("_")]
    assert names == ["w = 3", "w = 7", "w = 24"]
    curve = courses.get_lines()[0]
    early = part[(part.width == 3) & (part.epoch <= 0.9 * part.epoch.max())].sort_values("epoch")
    assert curve.get_ydata()[:-1].tolist() == early.value.tolist()
    assert curve.get_ydata()[-1] == pytest.approx(np.mean(late(history, "jacobian_norm")[3]))


def test_courses_are_of_networks_below_at_and_beyond_the_threshold():
    widths = [1, 2, 4, 8, 12, 16]
    assert list(heatmaps.chosen(widths, 8, None)) == [4, 8, 16]
    assert list(heatmaps.chosen(widths, 16, 12)) == [8, 12, 16]
    assert list(heatmaps.chosen(widths, None, None)) == [4, 8, 16]
    assert list(heatmaps.chosen([3], None, 5)) == [3] and heatmaps.chosen([], 3, 3) == {}


@pytest.mark.parametrize("name", DISTINCT)
def test_every_seed_is_a_thin_line(name, volumes, history):
    kind = figures.FIGURES[name]
    table = volumes if kind.table == "volumes" else by_group(history)
    value = "mean" if kind.table == "volumes" else "value"
    other = table.assign(seed=1, **{value: table[value] * 1.02})

    def thin(table):
        drawn = drawn_panels(kind.function(table, threshold=7))
        return sum(line.get_label() == "_seed" for panel in drawn for line in panel.get_lines())

    curves = {"fig1c": 2, "fig2": 4 * 7, "fig3-parts": 4 * 7, "fig3": 8 * 7, "fig5": 4 * 3, "fig7b": 2}[name]
    assert thin(table) == 0 and thin(pd.concat([table, other])) == 2 * curves


@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("name", DISTINCT)
def test_every_figure_is_of_the_visual_language(name, volumes, history, narrow, tmp_path):
    kind = figures.FIGURES[name]
    table = volumes if kind.table == "volumes" else by_group(history)
    for part in (table, table[table.width == 8], table.iloc[:0]):
        drawn = kind.function(part, threshold=8, width=8, narrow=narrow)
        assert drawn.get_size_inches()[0] <= (style.NARROW if narrow else style.FULL)
        panels = drawn_panels(drawn)
        if part.empty:
            assert any("nothing measured" in text.get_text() for text in panels[0].texts)
            assert alt_text.describe(drawn) == "An empty figure: nothing measured yet."
        else:
            assert all(marks(panel, style.ACCENT) for panel in panels)
            assert all(panel.get_xlabel() in ("base width $w$", "epoch") for panel in panels[-2:])
            text = alt_text.describe(drawn)
            assert len(text) <= alt_text.LIMIT
            assert text.endswith("Threshold (line): w = 8. Marked: w = 8.")
    path = tmp_path / "figure.svg"
    figures.save(kind.function(table, threshold=8, width=8, narrow=narrow), path)
    first = path.read_bytes()
    assert len(first) < LIMIT and ElementTree.fromstring(first).get("viewBox")
    if not narrow:
        figures.save(kind.function(table, threshold=8, width=8), path)
        assert path.read_bytes() == first


@pytest.mark.parametrize("name", ["fig3", "fig5"])
def test_on_a_dark_page_the_same_drawing_is_light(name, records):
    drawn = figures.draw(name, records, width=15)
    light = figures.written(drawn, "svg")
    light, dark = light.decode(), files.on_dark(light).decode()
    colours = re.compile(r"(?<=: )#[0-9a-f]{6}\b")
    assert colours.sub("", light) == colours.sub("", dark)
    lines = {"#3a4048", *style.ON_COLOUR}  # the grid, and what lies on heatmaps
    assert all(contrast(colour, style.PAGES[1]) >= 4.5 for colour in set(colours.findall(dark)) - lines)
    for ground in (light, dark):  # nothing behind the drawing, nor behind a panel
        patches = re.findall(r'<g id="patch_[12]">(.*?)</g>', ground, re.DOTALL)
        assert len(patches) == 2 and all("fill: none" in patch for patch in patches)


def test_alternative_text_says_where_curves_begin_peak_and_end(records, history):
    volumes = tables.volumes_table(records)
    text = alt_text.describe(figures.FIGURES["fig2"].function(volumes, threshold=7, width=15))
    assert text == (
        "4 panels against base width w (1 to 24), over the largest volume. Training accuracy: 0.28 to 0.99; "
        "Crossentropy: 2 to 0.024; Jacobian norm: 3.8, peak 9.9 at w = 4, 0.071; Hessian norm: 8.4, peak 26 at w = 4, 0.13. "
        "Threshold (line): w = 7. Marked: w = 15."
    )
    text = alt_text.describe(figures.FIGURES["fig3"].function(volumes, threshold=7, width=15))
    assert (
        "Jacobian norm, clean: 3.5, peak 9 at w = 4, 0.059; Jacobian norm, noisy: 4.6, peak 13 at w = 4, 0.12" in text
    )
    errors_ = history[history.metric == "test_error"].assign(
        value=lambda t: t.width.map({1: 60, 2: 50, 3: 60}).fillna(40)
    )
    text = alt_text.describe(figures.FIGURES["fig1c"].function(errors_))
    assert text == "Curves against base width w (1 to 24). test error: 60, low 50, peak 60 at w = 3, 40."
    text = alt_text.describe(figures.FIGURES["fig5"].function(history))
    assert text.startswith("4 heatmaps and curves against epoch (1 to 400), for w = 24. Test error, %: ")
    assert "threshold" not in text.lower()


def test_alternative_text_names_cells_that_exist():
    """The borders of a cell lie in the middle of two widths, its own width does not lie in the middle of its borders."""
    table = pd.DataFrame([[3.0, 2.0, 1.0], [4.0, 5.0, 9.0]], index=[1, 1200], columns=[12, 16, 32])
    drawn, axes = style.subplots(1, 1, 2)
    heatmaps.heatmap(drawn, axes[0, 0], table, rooted=True, threshold=None, width=None)
    text = alt_text.describe(drawn)
    assert "lowest 1 at w = 32, epoch 1 and highest 9 at w = 32, epoch 1200" in text


def contrast(one, other):
    """As WCAG defines it."""

    def luminance(colour):
        rgb = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in mpl.colors.to_rgb(colour)]
        return 0.2126 * rgb[0] + 0.7152 * rgb[1] + 0.0722 * rgb[2]

    dim, bright = sorted((luminance(one), luminance(other)))
    return (bright + 0.05) / (dim + 0.05)


def test_colours_are_legible_on_both_pages():
    single = [getattr(style, name) for name in ("ACCENT", "TEST", "TRAIN", "CORRUPTED", "INK")]
    for colour in (*single, *style.sequence(12)):
        light, dark = style.PAGES
        assert contrast(colour, light) >= 4.5 and contrast(style.on_dark(colour), dark) >= 4.5, colour


@pytest.mark.parametrize("name", DISTINCT)
def test_the_data_behind_a_figure_are_what_it_draws(name, records):
    whole = tables.history_table(records) if figures.FIGURES[name].table == "history" else tables.volumes_table(records)
    table = figures.FIGURES[name].rows(whole)
    drawn = figures.draw(name, records, width=15)
    if name == "fig7b":
        assert table.empty
        return
    assert not table.empty
    panels = drawn_panels(drawn)
    assert set(table.width) == {r["config"]["width"] for r in records}
    if figures.FIGURES[name].function is not heatmaps.draw:
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


def test_a_path_is_printed_as_it_is(tmp_path, command):
    """In one line, and no letter of it read as a style."""
    place = tmp_path / "a[bold]b[x]" / ("c" * 80)
    place.mkdir(parents=True)
    said = command("figure", "fig1c", ROOT / "params/demo/convnet-noise20.yaml", "--output", place / "d.svg")
    assert f"{place / 'd.svg'}: 5 of 5 runs" in said.stdout.splitlines() and (place / "d.svg").is_file()


def test_letters_follow_the_paper(volumes, history):
    first = {"fig1d": "d", "fig4": "", "fig6a": "a", "fig6b": "b", "fig7a": "a", "fig7b": "b"}
    for name, letter in first.items():
        kind = figures.FIGURES[name]
        table = volumes if kind.table == "volumes" else by_group(history)
        assert kind.function(table).axes[0].get_title(loc="left") == letter


def test_the_command_names_what_it_knows(tmp_path):
    with pytest.raises(errors.ConfigError, match="'fig9' is not known; did you mean"):
        cli.app(["figure", "fig9", "params/demo/convnet-noise20.yaml", "--output", str(tmp_path / "x.svg")])


@pytest.mark.parametrize("width", ["3", "1000"])
def test_a_width_that_is_not_measured_is_not_marked(width, tmp_path):
    words = ["figure", "fig2", str(ROOT / "params/demo/convnet-noise20.yaml"), "--output", str(tmp_path / "x.svg")]
    said = f"Width {width} is not measured: mark one of 1, 2, 4, 8, 16"
    with pytest.raises(errors.ConfigError, match=said):
        cli.app([*words, "--width", width])
    assert not list(tmp_path.iterdir())
    for name in ("fig2", "fig5"):  # of volumes, and of the course of training
        with pytest.raises(errors.ConfigError, match=said):
            getattr(figures, name)(records_of("demo", "convnet-noise20"), mark_width=int(width))


def test_a_width_that_diverged_is_not_marked():
    records = [*records_of("demo", "convnet-noise20")]
    records[2] = {**records[2], "status": "diverged", "volumes": []}
    with pytest.raises(errors.ConfigError, match="Width 4 is not measured: mark one of 1, 2, 8, 16"):
        figures.fig2(records, mark_width=4)


@pytest.mark.parametrize("kind", ["volumes", "history"])
def test_a_table_is_no_records(kind):
    with pytest.raises(errors.RecordError, match="These are no records but a DataFrame: .* records"):
        figures.fig2(getattr(records_of("demo", "convnet-noise20"), kind))


def test_the_page_on_reproducing_names_every_figure():
    table = predictions.figure_table(performance.Benchmarks("cpu"), performance.Benchmarks("gpu"))
    assert set(table.index) == {f"`{name}`" for name in (*figures.FIGURES, "fig1ab")}
    assert "predictions.figure_table(" in (ROOT / "book" / "reproduce.md").read_text()


def test_a_figure_of_records_is_drawn_again_for_a_phone():
    runs = records_of("demo", "convnet-noise20")
    drawn = figures.fig2_parts(runs, mark_width=8, yscale="log")
    again = drawn.again(narrow=True)
    assert again.get_size_inches()[0] == style.NARROW < drawn.get_size_inches()[0]
    assert alt_text.describe(again) == alt_text.describe(drawn) and again.axes[0].get_yscale() == "log"
    assert set(drawn.drawn_from.table.metric) == set(figures.PARTS)
    some = figures.fig2(record for record in runs)  # of no experiment, and given once
    assert some.again(narrow=True).get_size_inches()[0] == style.NARROW and not hasattr(some, "drawn_from")


def test_networks_that_forgot_stand_apart_from_the_curves():
    records = [copy.deepcopy(record) for record in store.read_all(config.find("demo", "convnet-noise20").runs())]
    for record in (record for record in records if record["config"]["width"] == 4):
        for entry in record["history"][len(record["history"]) // 2 :]:
            entry["train_error"]["all"] = 95.0
    for name, n_curves in (("fig1c", 1), ("fig2", 7)):
        lines = paper.draw(name, records).axes[0].get_lines()
        crosses = [line for line in lines if line.get_label() == "_forgotten"]
        curves = [line for line in lines if line.get_marker() == "o" and len(line.get_xdata()) > 1]
        assert len(crosses) >= n_curves and all(list(line.get_xdata()) == [4] for line in crosses)
        assert len(curves) >= n_curves and all(list(line.get_xdata()) == [1, 2, 8, 16] for line in curves)
