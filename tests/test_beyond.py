"""The studies beyond the paper: measured from cached networks by one command, kept and read back as verified files."""

import json
import subprocess
import sys

import pytest
import torch
from benchmarks import beyond as command

from smooth_interpolation import config, locations
from smooth_interpolation.claims import moments
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import RecordError, UserError
from smooth_interpolation.figures import beyond_figures
from smooth_interpolation.measure import neighbours, volumes
from smooth_interpolation.runs import records, weights
from smooth_interpolation.studies import beyond
from smooth_interpolation.train import models

TINY = """experiment: tiny
scale: demo
dataset: dead_leaves
n_train: 60
n_test: 40
model: convnet
optimizer: sgd
learning_rate: 0.01
epochs: 1
n_paths: 1
n_tangents: 1
n_clean_points: 4
n_noisy_points: 4
widths: [2, 3]
seeds: [0]
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """An experiment of two untrained networks, in a repository of its own."""
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    monkeypatch.setattr(beyond, "N_SAMPLES", 2)
    path = tmp_path / "params" / "demo" / "tiny.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(TINY)
    experiment = config.load(path)
    fingerprint = preparation.prepare(experiment).dataset.fingerprint
    for run in experiment.runs():
        weights.save_network(models.create("convnet", run.width, 10, run.seed), run, fingerprint)
    return path, experiment


def test_every_study_is_made_kept_and_read(tiny, capsys):
    path, experiment = tiny
    command.main([str(path)])
    data = preparation.prepare(experiment)
    points = beyond.some_points(data)
    assert sorted(points.tolist()) == sorted(data.points.tolist())
    images, labels = data.train.images[points].float() / 255, data.train.labels[points]
    noisy = data.corrupted[points]
    network = weights.network(experiment.run(3, 0))
    for study in beyond.STUDIES:
        found = beyond.read(study, "demo", "tiny")
        assert set(found.table.width) == {2, 3} and found.data["name"] == "dead_leaves"
        assert "Scale `demo`: 2 widths, seed 0; dead_leaves, drawn" in found.sentence()
        assert f"--only {study}" in found.remake() and found.widths == [2, 3] and found.threshold is None

    table = beyond.read("paths", "demo", "tiny").table
    metrics = volumes.volume_metrics(network, images, labels, normalize=data.normalize, n_paths=1, n_tangents=1)
    one = table[
        (table.width == 3) & (table.path_kind == "svd") & (table.metric == "jacobian_norm") & (table["size"] == 6)
    ]
    expected = [metrics.jacobian_norm[mask, 6].mean().item() for mask in (~noisy, noisy)]
    assert one.set_index("subset").value.loc[["clean", "noisy"]].tolist() == pytest.approx(expected)
    assert set(table[table.path_kind == "shift"]["size"]) == {0, 1, 2, 3, 4}

    table = beyond.read("curvature", "demo", "tiny").table
    at_points = table[(table.width == 3) & table.factor.isna()].pivot(index="metric", columns="subset", values="value")
    expected = volumes.volume_metrics(network, images, labels, normalize=data.normalize, n_paths=1, n_tangents=1)
    assert at_points.loc["finite difference", "noisy"] == pytest.approx(
        expected.tangent_hessian_norm[noisy, 0].mean().item(), rel=1e-3
    )
    assert set(table[table.metric == "error, float64"].factor) == set(beyond.FACTORS)

    table = beyond.read("neighbours", "demo", "tiny").table
    part = table[(table.width == 2) & (table.space == "features") & (table.quantity == "error")]
    assert part.n.sum() == 40 and set(table.space) == {"input", "features"}
    assert "neighbours: demo/tiny w = 3, seed 0" in capsys.readouterr().out

    table = beyond.read("silence", "demo", "tiny").table.pivot(index="quantity", columns="width", values="value")
    assert (table.loc["silent images"] < 50).all() and (table.loc["norm of the weights"] > 1).all()
    wrong = network(data.normalize(data.train.images.float() / 255)).argmax(1) != data.train.labels
    assert table.loc["training error", 3] == pytest.approx(wrong.double().mean().item() * 100)


@torch.no_grad()
def test_a_network_whose_last_hidden_layer_is_dead_is_silent(tiny):
    _, experiment = tiny
    run, data = experiment.run(3, 0), preparation.prepare(experiment)
    network = models.create("convnet", 3, 10, 0)
    images = data.normalize(data.train.images.float() / 255)
    seen = neighbours.features(network, images)[0]
    network.convolutions[-1].bias -= seen.max() + 1
    found = beyond.measure_silence(network, data, run).set_index("quantity").value
    assert found["silent images"] == 100 and found["dead units"] == 100
    label = network.linear.bias.argmax()
    expected = (data.train.labels != label).double().mean().item() * 100
    assert found["training error"] == found["training error, silent images"] == pytest.approx(expected)


def test_files_that_are_missing_changed_or_of_others_are_refused(tiny):
    path, experiment = tiny
    with pytest.raises(RecordError, match="--only paths makes it"):
        beyond.read("paths", "demo", "tiny")
    command.main([str(path), "--only", "paths", "--width", "2"])
    place = beyond.path_of("paths", experiment)
    text = place.read_text()
    content = json.loads(text)
    content["table"]["value"][0] += 1
    place.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="was changed after it was written"):
        beyond.read("paths", "demo", "tiny")
    for broken in ("{", "[]", "{}", '{"checksum": 1}'):
        place.write_text(broken)
        with pytest.raises(RecordError, match="is damaged"):
            beyond.read("paths", "demo", "tiny")
    place.write_text(text)
    path.write_text(TINY.replace("epochs: 1", "epochs: 2"))
    with pytest.raises(RecordError, match="another configuration"):
        beyond.read("paths", "demo", "tiny")


def test_without_networks_it_says_what_to_do(tiny, capsys):
    path, _ = tiny
    with pytest.raises(UserError, match="No network of tiny is in the cache: sweep"):
        command.main([str(path), "--only", "paths", "--seed", "7"])
    assert "run it again to make them" in capsys.readouterr().err


def test_points_are_spread_evenly():
    data = preparation.prepare(config.find("demo", "convnet-noise20"))
    points = beyond.some_points(data, 20)
    assert len(points) == 20 and int(data.corrupted[points].sum()) == 10
    assert set(points.tolist()) <= set(data.points.tolist())
    assert len(set(data.train.labels[points].tolist())) > 5


def test_committed_studies_are_whole_and_made_by_committed_code():
    for path in sorted((locations.repository() / "results" / "beyond").glob("*/*.json")):
        scale, (experiment, study) = path.parent.name, path.stem.rsplit("-", 1)
        found = beyond.read(study, scale, experiment)
        assert found.origin["dirty"] is False and len(found.origin["commit"]) == 40
        assert not found.table.empty and path.stat().st_size < 1_000_000


def test_finite_differences_are_those_of_equation_5():
    """The study uses the same directions as runs do."""
    data = preparation.prepare(config.find("demo", "convnet-noise20", {"n_clean_points": 4, "n_noisy_points": 4}))
    run = config.find("demo", "convnet-noise20").run(2, 0)
    network = models.create("convnet", 2, 10, 0)
    table = beyond.measure_curvature(network, data, run)
    points = beyond.some_points(data)
    images = data.train.images[points].float() / 255
    whole = volumes.volume_metrics(network, images, data.train.labels[points], normalize=data.normalize, strengths=(5,))
    clean = ~data.corrupted[points]
    found = table[(table.metric == "finite difference") & (table.subset == "clean")].value.item()
    assert found == pytest.approx(whole.tangent_hessian_norm[clean, 0].mean().item(), rel=1e-3)


def test_figures_of_the_studies():
    """Drawn from the committed tables, with every width and the threshold."""
    for study, draw in (
        ("curvature", beyond_figures.curvature_by_width),
        ("neighbours", beyond_figures.gap_by_width),
        ("paths", beyond_figures.paths_by_width),
    ):
        table = beyond.read(study, "laptop", "convnet-noise20").table
        figure = draw(table, threshold=7)
        for panel in figure.axes:
            low, high = panel.get_ylim()
            for line in panel.get_lines():
                values = [v for v in line.get_ydata() if not line.get_label().startswith(("_", "interpolation"))]
                assert all(low <= v <= high for v in values), (study, line.get_label())
    trends = beyond_figures.path_trends(table)
    assert len(trends) == 8 and trends["rank correlation"].between(-1, 1).all()
    gaps = beyond_figures.gaps(beyond.read("neighbours", "laptop", "convnet-noise20").table)
    assert set(gaps.space) == {"input", "features"} and (gaps.error > 0).all()
    shown = beyond_figures.difference_error(
        {"w = 2, float64": ([0.1, 1], [0.1, 1]), "w = 2, float32": ([0.1, 1], [1, 2])}
    )
    assert len({line.get_color() for line in shown.axes[0].get_lines()[:2]}) == 1


def test_more_epochs_are_drawn_at_every_width_of_either_scale():
    shorter, longer = (records.records(scale, "convnet-noise20") for scale in ("demo", "laptop"))
    figure = beyond_figures.ends_by_width(
        {"100 epochs": moments.at_end(shorter.history), "400 epochs": moments.at_end(longer.history)}, 7
    )
    ends = moments.at_end(longer.history).query("subset == 'all' and seed == 0")
    for panel, metric in zip(figure.axes, beyond_figures.ENDS, strict=True):
        few, many = (line for line in panel.get_lines() if str(line.get_label()).endswith("epochs"))
        assert list(few.get_xdata()) == [1, 2, 4, 8, 16] and len(many.get_xdata()) == longer.history.width.nunique()
        low, high = panel.get_ylim()
        assert low == 0 and all(0 <= v <= high for v in ends[ends.metric == metric]["mean"])
    drawn = beyond_figures.courses(longer.history, [4, 24])
    for panel, metric in zip(drawn.axes, beyond_figures.COURSES, strict=True):
        lines = {line.get_label(): line for line in panel.get_lines()}
        part = longer.history.query(f"metric == '{metric}' and subset == 'all' and width == 24")
        expected = part.groupby("epoch").value.mean()
        assert lines["w = 24"].get_ydata().tolist() == pytest.approx(expected.tolist())
    assert len(figure.again(narrow=True).axes) == len(drawn.again(narrow=True).axes) == 3


def papermill(page, out, *words):
    command = [sys.executable, "-m", "papermill", f"book/{page}.ipynb", str(out), *words]
    return subprocess.run(command, cwd=locations.repository(), capture_output=True, text=True, timeout=300)


def test_a_page_executes_at_another_scale_and_refuses_what_it_does_not_know(tmp_path):
    assert papermill("beyond-paths", tmp_path / "out.ipynb", "-p", "scale", "demo").returncode == 0
    assert "Scale `demo`: 5 widths" in (tmp_path / "out.ipynb").read_text()
    refused = papermill("beyond-paths", tmp_path / "out.ipynb", "-p", "scale", "dmeo")
    assert refused.returncode != 0 and "did you mean 'demo'?" in refused.stderr


def test_epochs_of_other_scales_are_compared(tmp_path):
    done = papermill("beyond-epochs", tmp_path / "out.ipynb", "-p", "scale", "laptop", "-p", "shorter", "demo")
    said = (tmp_path / "out.ipynb").read_text()
    assert done.returncode == 0, done.stderr[-2000:]
    assert "from 100 epochs to 400 epochs the training error" in said and "none forgets within 400 epochs" in said
