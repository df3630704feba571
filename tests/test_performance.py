"""Benchmarks: that they compare equal work, and what is made of their files."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import torch
from benchmarks import baseline, cpu, gpu, timing
from matplotlib import pyplot as plt

from smooth_interpolation import config, cost, flops, locations, models, performance, performance_figures
from smooth_interpolation.errors import RecordError

COMMITTED = locations.repository() / "benchmarks" / "results"


@pytest.mark.parametrize("width", [1, 5, 16])
def test_operations_of_a_convnet(width):
    macs = 1024 * 27 * width + 3 * 1024 * 18 * width**2 + 80 * width  # stages 2-4 cost the same
    first = 1024 * 27 * width  # whose input needs no gradient in training
    assert flops.count(models.ConvNet(width)) == (2 * macs, 4 * macs, 2 * (3 * macs - first))


def test_counting_leaves_the_network_alone():
    network = models.ResNet18(1).train()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    flops.count(network)
    assert network.training and all(p.requires_grad and p.grad is None for p in network.parameters())
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


@pytest.mark.parametrize("section", ["ceilings", "training", "measuring", "cost", "profile", "many"])
def test_every_part_of_the_benchmark_runs(section):
    """Each asserts first that baseline and library agree."""
    result = cpu.SECTIONS[section](True)
    assert result and json.loads(json.dumps(timing.rounded(result)))


def test_shares_of_a_profile_add_up():
    for widths in performance.Benchmarks("cpu")["profile"].values():
        for shares in widths.values():
            assert sum(shares.values()) == pytest.approx(1, abs=1e-2) and shares["convolutions"] > 0.2


def test_a_baseline_that_computes_something_else_is_noticed(monkeypatch):
    monkeypatch.setattr(baseline.Anchors, "erase", staticmethod(lambda image, strength, path: image))
    with pytest.raises(AssertionError):
        cpu.measuring_rates(True)


def test_the_benchmark_for_gpus_runs_on_a_cpu(tmp_path, monkeypatch):
    errors = gpu.check("cpu", True)
    assert max(error for name, error in errors.items() if name.startswith("graph")) == 0
    monkeypatch.setitem(gpu.TOLERANCE, "measures", 0.0)
    with pytest.raises(SystemExit, match="Wrong on this device"):
        gpu.check("cpu", True)


def test_ratios_are_taken_within_each_repetition():
    assert timing.ratio([2.0, 4.0, 9.0], [1.0, 1.0, 3.0]) == {"median": 3.0, "min": 2.0, "max": 4.0}
    assert timing.rate(6, [1.0, 2.0, 3.0]) == {"median": 3.0, "min": 2.0, "max": 6.0}
    calls = []
    timing.alternate({name: lambda n=name: calls.append(n) for name in "ab"}, 2)
    assert "".join(calls) == "ababab"


def test_committed_files_were_measured_by_committed_code():
    for name in performance.HARDWARE:
        for section, origin in performance.Benchmarks(name).origins.items():
            assert origin["dirty"] is False and len(origin["commit"]) == 40, (name, section)


def test_a_missing_file_is_one_sentence(monkeypatch, tmp_path):
    (tmp_path / "params").mkdir()
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    with pytest.raises(RecordError, match="python -m benchmarks.gpu makes it"):
        performance.Benchmarks("gpu")


def test_exponents_are_slopes_of_the_logarithms():
    assert performance.exponent([1, 2, 4, 8], [3, 12, 48, 192]) == pytest.approx(2)


class Made(performance.Benchmarks):
    """100 images and 1 point a second at every width."""

    name = "cpu"

    def __init__(self):
        speed = {"median": 100.0}, {"median": 1.0}
        self._sections = {
            section: {"result": [{"width": width, "library": rate} for width in (1, 64)]}
            for section, rate in zip(("training", "measuring"), speed, strict=True)
        }


def test_predicted_hours_add_up():
    experiment = config.find(
        "laptop", "convnet-noise20", {"widths": [1, 8], "seeds": [0], "epochs": 9, "n_evaluations": 1}
    )
    hours = performance.predicted_hours(experiment, Made())
    assert hours["training"] == pytest.approx(2 * 9 * 4000 / 100 / 3600)
    gradients = 14_000 / 2 + 500 * 5 + 500 * 5 * 25  # errors, points at the last epoch, volumes
    assert hours["measuring"] == pytest.approx(2 * gradients / 125 / 3600)
    wider = config.find("laptop", "convnet-noise20", {"widths": [128], "seeds": [0], "epochs": 9})
    assert performance.predicted_hours(wider, Made())["training"] == pytest.approx(4 * 9 * 4000 / 100 / 3600)


def test_time_on_a_gpu_counts_once_where_runs_overlap():
    def record(device, start, end, **origin):
        day = datetime(2026, 1, 1, tzinfo=UTC)
        times = {name: (day + timedelta(seconds=s)).isoformat() for name, s in (("start", start), ("end", end))}
        return {"provenance": {"device": device, "threads": 1, "wall_s": {"train": end - start}, **times, **origin}}

    assert cost.machine_seconds([]) == 0
    overlapping = [record("cuda", 0, 100), record("cuda", 10, 60), record("cuda", 90, 130), record("cuda", 200, 210)]
    assert cost.machine_seconds(overlapping) == 140
    assert cost.machine_seconds([record("cpu", 0, 100), record("cpu", 0, 50, cpu_s=20)]) == 120
    assert cost.seconds(record("cuda", 0, 100, at_once=4)) == 25


def test_the_figures_can_be_drawn():
    found, device = performance.Benchmarks("cpu"), performance.Benchmarks("gpu")
    for figure in (
        performance_figures.cost_by_width(found),
        performance_figures.cost_by_amount(found),
        performance_figures.gpu_rates(device),
    ):
        assert all(panel.get_title() and panel.get_xlabel() for panel in figure.axes)
        plt.close(figure)
    table = performance.cost_table("convnet-noise20", {"cpu": found, "gpu": device})
    assert len(table) == 8 and (table["runs"] > 0).all()
