"""The same numbers on every device that is there: the CPU always, a GPU where one is."""

import pytest
import torch

from smooth_interpolation import config
from smooth_interpolation.data import preparation
from smooth_interpolation.measure.foreign import measuring
from smooth_interpolation.measure.volumes import METRICS, volume_metrics
from smooth_interpolation.runs import single, store, work
from smooth_interpolation.train import graphs, loop, models
from smooth_interpolation.train.step import Recipe

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def settings_of(**changes):
    small = {"n_train": 200, "n_test": 50, "epochs": 2, "n_evaluations": 2, "n_clean_points": 20, "n_noisy_points": 20}
    return config.find("demo", "convnet-noise20", {**small, **changes})


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("family", ["convnet", "resnet18"])
def test_measures_in_float32_agree_with_float64_on_the_cpu(device, family):
    data = preparation.prepare(settings_of())
    points = data.train[data.points]
    images = points.images.float() / 255
    options = {"normalize": data.normalize, "strengths": (5, 20), "n_paths": 2, "n_tangents": 2}
    reference = volume_metrics(models.create(family, 8, 10, seed=0).double(), images, points.labels, **options)
    found = volume_metrics(models.create(family, 8, 10, seed=0).to(device), images, points.labels, **options)
    # Where a ReLU's input is within rounding of 0, float32 takes the other side: a few points differ by more.
    for metric in METRICS:
        error = (getattr(found, metric) / getattr(reference, metric) - 1).nan_to_num(0).abs()
        assert error.median() < 1e-5 and error.max() < 2e-2, (metric, error.median(), error.max())


@pytest.mark.parametrize("device", DEVICES)
def test_a_run_is_the_same_everywhere_to_rounding(device):
    settings = settings_of(augment=True)
    data = preparation.prepare(settings)
    weights = []
    for place in ("cpu", device):
        network = models.create("convnet", 4, 10, seed=0).to(place)
        loop.train(
            network, data.train.images, data.train.labels, **vars(Recipe.of(settings)), normalize=data.normalize, seed=0
        )
        weights.append(torch.cat([p.detach().cpu().flatten() for p in network.parameters()]))
    start = torch.cat([p.detach().flatten() for p in models.create("convnet", 4, 10, seed=0).parameters()])
    assert (weights[1] - weights[0]).norm() < 1e-2 * (weights[0] - start).norm()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="graphs are captured on a GPU")
@pytest.mark.parametrize(
    "dials", [{}, {"model": "resnet18"}, {"dropout": 0.3, "batch_norm": True, "weight_decay": 1e-3}]
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
def test_a_captured_step_is_the_eager_one(dials, precision, monkeypatch):
    """To what rounding does: in float32, to a start that differs in the last bits of the weights.

    In bfloat16, where a compiled step rounds less often: no further from float32 than eager steps, by more than half.
    """
    monkeypatch.setattr(graphs, "COMPILE_FROM", 0)
    data = preparation.prepare(settings_of())

    def trained(precision, graph, ulps=0):
        settings = settings_of(augment=True, precision=precision, **dials)
        network = models.of_run(settings.run(4, 0)).to("cuda")
        with torch.no_grad():
            for weights in network.parameters():
                weights[::2] *= (
                    1 + ulps * torch.finfo(weights.dtype).eps
                )  # not of all: what is normalised forgets its scale
        loop.train(
            network,
            data.train.images,
            data.train.labels,
            **vars(Recipe.of(settings)),
            normalize=data.normalize,
            seed=0,
            acceleration=loop.Acceleration(cuda_graph=graph),
        )
        return torch.cat([p.detach().flatten() for p in network.parameters()])

    eager, captured = (trained(precision, graph) for graph in (False, True))
    if precision == "fp32":
        rounding = max((trained("fp32", False, ulps) - eager).norm() for ulps in (1, -1))
        assert (captured - eager).norm() < max(1e-4 * eager.norm(), 10 * rounding)
    else:
        reference = trained("fp32", False)
        assert (captured - reference).norm() < 1.5 * (eager - reference).norm()


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_record_names_its_device(device, precision):
    record = single.run(settings_of(precision=precision, augment=True, model="resnet18").run(2, 0), device=device)
    assert record["status"] == "complete" and record["provenance"]["device"] == device
    assert record["provenance"]["precision"] == precision


@pytest.mark.parametrize("device", DEVICES)
@torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
def test_a_resumed_run_is_the_uninterrupted_one(device, tmp_path):
    """On a GPU the second seed takes over the first one's captured graph: its state is put back in place."""
    todo = [settings_of(augment=True, epochs=3).run(2, seed) for seed in (0, 1)]
    stops = 0
    while True:
        # A GPU asks after an epoch, and a few times while it measures: more each time, or measuring would never end.
        asked = iter([False] * (4 if device == "cpu" else 1 + stops))
        try:
            work.do(todo, work.Options(root=tmp_path, device=device), stop=lambda asked=asked: next(asked, True))
            break
        except KeyboardInterrupt:
            stops += 1
    assert stops >= 2
    for run in todo:
        found, alone = store.read(run, tmp_path), single.run(run, device=device)
        if device == "cpu":
            assert found["history"] == alone["history"] and found["volumes"] == alone["volumes"]
        for ours, theirs in zip(found["history"], alone["history"], strict=True):
            assert ours["train_crossentropy"] == pytest.approx(theirs["train_crossentropy"], rel=1e-3)
        assert len(found["provenance"]["resumed"]) > (device == "cpu")


def test_full_precision_is_asked_for_while_measuring():
    # TensorFloat-32 has 10 bits of mantissa: the caller's setting comes back afterwards.
    places = torch.backends.cudnn, torch.backends.cuda.matmul
    before = [place.allow_tf32 for place in places]
    try:
        for place in places:
            place.allow_tf32 = True
        with measuring(models.create("convnet", 2, 10, seed=0)):
            assert not any(place.allow_tf32 for place in places)
        assert all(place.allow_tf32 for place in places)
    finally:
        for place, value in zip(places, before, strict=True):
            place.allow_tf32 = value
