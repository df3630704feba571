"""Weight decay, label smoothing, dropout, batch normalisation, schedules and kept epochs, against PyTorch's own; files with a base."""

import dataclasses
import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from smooth_interpolation import config, locations
from smooth_interpolation.config import fields
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import ConfigError, DataError
from smooth_interpolation.runs import single, weights
from smooth_interpolation.train import graphs, loop, models, train
from smooth_interpolation.train.step import Recipe, learning_rate, losses_of

SMALL = {
    "n_train": 60, "n_test": 20, "epochs": 8, "warmup_epochs": 2, "n_evaluations": 2, "n_last_evaluations": 0,
    "n_clean_points": 2, "n_noisy_points": 2, "batch_size": 25, "n_paths": 1, "n_tangents": 1, "strengths": [5],
}  # fmt: skip


def settings_of(**changes):
    return config.find("demo", "convnet-noise20", {**SMALL, **changes})


def theirs(model, data, settings, optimizer, scheduler, seed, smoothing):
    """A loop of PyTorch's own parts, in float64; the scheduler begins after the warm-up."""
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.normalize.mean, data.normalize.std))
    x, y = ((data.train.images.float() / 255 - mean) / std).double(), data.train.labels
    generator = torch.Generator().manual_seed(seed)
    n = math.ceil(len(x) / settings.batch_size)
    model.train()
    for step in range(settings.epochs * n):
        if step % n == 0:
            batches = torch.randperm(len(x), generator=generator).split(settings.batch_size)
        warm = settings.warmup_epochs * n
        if step < warm:
            start, end = settings.warmup_learning_rate, settings.learning_rate
            optimizer.param_groups[0]["lr"] = start + (end - start) * step / warm
        elif step == warm:
            optimizer.param_groups[0]["lr"] = settings.learning_rate
        optimizer.zero_grad()
        batch = batches[step % n]
        F.cross_entropy(model(x[batch]), y[batch], label_smoothing=smoothing).backward()
        optimizer.step()
        if step >= warm:
            scheduler.step()


@pytest.mark.parametrize("captured", [False, True])
@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_training_with_every_dial_is_pytorchs(optimizer, schedule, captured):
    dials = {"weight_decay": 0.05, "label_smoothing": 0.2, "schedule": schedule}
    settings = settings_of(optimizer=optimizer, batch_norm=True, **dials)
    data, run = preparation.prepare(settings), settings.run(2, 1)
    kind = {"sgd": lambda p: torch.optim.SGD(p, 0.01, momentum=0.9, weight_decay=0.05)}
    kind["adam"] = lambda p: torch.optim.Adam(p, 0.01, weight_decay=0.05)
    reference = models.of_run(run).double()
    opt = kind[optimizer](list(reference.parameters()))
    n = math.ceil(60 / 25)
    schedules = {
        "constant": lambda: torch.optim.lr_scheduler.ConstantLR(opt, factor=1),
        "cosine": lambda: torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=6 * n),
        "step": lambda: torch.optim.lr_scheduler.MultiStepLR(opt, [2 * n, 4 * n]),  # after 4 and 6 epochs, 2 of warm-up
    }
    theirs(reference, data, settings, opt, schedules[schedule](), 1, 0.2)
    there = preparation.TrainingData.of(
        data.train.images, data.train.labels, data.normalize, "fp32", torch.device("cpu")
    )
    there = dataclasses.replace(there, images=there.images.double())
    uncompiled = loop.Acceleration(compile=False)
    trainer = loop.Trainer(models.of_run(run).double(), there, Recipe.of(settings), 1, uncompiled)
    trainer.graphed = captured  # on a CPU a replay does the step
    while not trainer.done:
        trainer.launch()
        trainer.finish()
    assert trainer.done == "complete" and (trainer.graph is not None) == captured
    for name, value in reference.state_dict().items():
        torch.testing.assert_close(trainer.model.state_dict()[name], value, rtol=2e-5, atol=2e-6)


def test_a_schedule_ends_where_it_should():
    recipe = Recipe(learning_rate=1.0, epochs=100, warmup_epochs=10, schedule="cosine")
    assert learning_rate(10 * 7, 7, recipe) == 1.0 and learning_rate(700, 7, recipe) == pytest.approx(0, abs=1e-12)
    assert learning_rate(55 * 7, 7, recipe) == pytest.approx(0.5)
    steps = dataclasses.replace(recipe, schedule="step")
    assert [learning_rate(e * 7, 7, steps) for e in (49, 50, 74, 75, 99)] == pytest.approx([1, 0.1, 0.1, 0.01, 0.01])


def test_dropout_drops_a_share_scales_the_rest_and_is_repeated():
    layer = models.create("convnet", 2, 10, 0, dropout=0.3).dropout.train()
    x = torch.ones(400, 100)
    first, second = layer(x), layer(x)
    assert set(first.unique().tolist()) == {0.0, F.dropout(x, 0.3).max().item()}
    for found in (first, second):
        assert abs((found == 0).double().mean().item() - 0.3) < 5 * math.sqrt(0.21 / 40_000)
    for dim in (0, 1):
        assert (first == 0).double().mean(dim).std() < 0.06  # no row or column is special
    same = ((first == 0) == (second == 0)).double().mean().item()
    assert abs(same - (0.3**2 + 0.7**2)) < 0.01  # another draw at every step
    again = models.create("convnet", 2, 10, 0, dropout=0.3).dropout.train()
    assert torch.equal(again(x), first)
    again.load_state_dict(layer.state_dict())  # a checkpoint
    assert torch.equal(again(x), layer(x))
    assert not torch.equal(models.create("convnet", 2, 10, 1, dropout=0.3).dropout.train()(x), first)
    assert torch.equal(layer.eval()(x), x)
    layer.train()
    y = torch.ones(3, 4, requires_grad=True)
    out = layer(y)
    out.sum().backward()
    assert torch.equal(y.grad, out.detach())  # the mask, as of PyTorch's


def test_dropout_in_a_captured_step_is_that_of_the_plain_one():
    settings = settings_of(dropout=0.5)
    data = preparation.prepare(settings)
    there = preparation.TrainingData.of(
        data.train.images, data.train.labels, data.normalize, "fp32", torch.device("cpu")
    )
    ends = []
    for captured in (False, True):
        network = models.of_run(settings.run(2, 0))
        trainer = loop.Trainer(network, there, Recipe.of(settings), 0, loop.Acceleration(compile=False))
        trainer.graphed = captured
        while not trainer.done:
            trainer.launch()
            trainer.finish()
        ends.append(network.state_dict())
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-4, atol=1e-5)
    assert ends[0]["dropout.step"] == ends[1]["dropout.step"] == 8 * 3


def test_batch_norm_is_before_relu_and_pooling():
    network = models.create("convnet", 2, 10, 0, batch_norm=True).train()
    plain = models.create("convnet", 2, 10, 0)
    x, y = torch.randn(6, 3, 32, 32), torch.randn(6, 3, 32, 32)
    for stage in range(4):
        y = x if stage == 0 else y
        norm = nn.BatchNorm2d(2 * 2**stage)
        y = F.relu(norm(plain.convolutions[stage](y)))
        y = F.max_pool2d(y, 2) if stage else y
    torch.testing.assert_close(network(x), plain.linear(F.max_pool2d(y, 4).flatten(1)))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"weight_decay": -0.1}, "weight_decay = -0.1: must be at least 0"),
        ({"label_smoothing": 2}, "label_smoothing = 2: must be at most 1"),
        ({"dropout": 1}, "must be below 1"),
        ({"dropout": 0.5, "model": "resnet18"}, "of the convnet alone"),
        ({"batch_norm": True, "model": "resnet18"}, "of the convnet alone"),
        ({"schedule": "linear"}, "must be one of constant, cosine, step"),
        ({"schedule": "cosine", "warmup_epochs": 8}, "warmup_epochs must be below epochs"),
        ({"keep_epochs": [4, 2]}, "must increase strictly"),
        ({"keep_epochs": [2, 9]}, "there are 8 epochs"),
        (
            {"model": "convnets"},
            f"must be one of {', '.join(fields.FAMILIES)}, or one of your own.*did you mean 'convnet'",
        ),
        ({"points_from": "tests"}, "must be one of train, restored, test"),
    ],
)
def test_a_bad_dial_is_one_sentence(changes, words):
    with pytest.raises(ConfigError, match=words) as caught:
        settings_of(**changes)
    assert "\n" not in str(caught.value)


def test_a_bad_recipe_is_one_sentence():
    images, labels = torch.zeros(4, 3, 32, 32, dtype=torch.uint8), torch.arange(4)
    for changes, words in (
        ({"schedule": "wave"}, "one of constant, cosine, step"),
        ({"weight_decay": -1}, "from 0 to 1"),
        ({"lr": 0.1}, "'lr' is not known"),
        ({"optimizer": "lion"}, "one of sgd, adam"),
    ):
        with pytest.raises(ConfigError, match=words):
            train(models.ConvNet(1), images, labels, **{"epochs": 1, **changes})
    with pytest.raises(DataError, match="give a loss for others"):
        train(models.ConvNet(1), images, labels.float(), epochs=1)
    with pytest.raises(DataError, match="one number per sample"):
        train(models.ConvNet(1), images, labels, epochs=1, loss=F.cross_entropy)


def test_train_takes_an_optimiser_and_a_loss_of_ones_own():
    images, colours = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8), torch.rand(40, 3)
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 3))
    seen, rates = [], []

    def optimizer(parameters):
        rates.append(torch.optim.AdamW(parameters, lr=3e-3))
        return rates[0]

    assert train(
        network, images, colours, optimizer=optimizer, loss=lambda y, t: (y - t).square().sum(1),
        epochs=30, batch_size=10, after_epoch=seen.append,
    )  # fmt: skip
    assert seen[-1].loss < seen[0].loss / 2 and math.isnan(seen[-1].error)
    assert rates[0].param_groups[0]["lr"] == 3e-3


def test_kept_epochs_are_networks_on_the_way():
    settings = settings_of(keep_epochs=[3, 5])
    run = settings.run(2, 7)
    record = single.run(run)
    fingerprint = record["data"]["fingerprint"]
    networks = [weights.network(run, fingerprint, epoch) for epoch in (3, 5, None)]
    ends = [torch.cat([p.flatten() for p in network.parameters()]) for network in networks]
    assert not torch.equal(ends[0], ends[1]) and not torch.equal(ends[1], ends[2])
    other = single.run(settings_of(epochs=5).run(2, 7))  # a constant rate: the same network
    assert other["status"] == "complete"
    final = weights.network(settings_of(epochs=5).run(2, 7), fingerprint)
    assert torch.equal(torch.cat([p.flatten() for p in final.parameters()]), ends[1])


def test_every_dial_at_its_default_is_not_named_and_off_it_is_another_run():
    plain = config.find("demo", "convnet-noise20").run(2, 0)
    names = set(config.ADDED_DEFAULTS)
    assert {"weight_decay", "label_smoothing", "dropout", "batch_norm", "schedule", "keep_epochs"} <= names
    assert not names & set(plain.canonical())
    off = {"weight_decay": 0.1, "label_smoothing": 0.1, "dropout": 0.1, "batch_norm": "true", "schedule": "cosine"}
    found = {config.find("demo", "convnet-noise20", {name: value}).run(2, 0).digest for name, value in off.items()}
    assert len(found | {plain.digest}) == 6


def write(place, **values):
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("".join(f"{name}: {value}\n" for name, value in values.items()))
    return place


def test_a_file_needs_only_what_differs_from_its_base(tmp_path):
    whole = config.find("demo", "convnet-noise20")
    file = write(tmp_path / "decay.yaml", base="demo/convnet-noise20", weight_decay=0.001)
    found = config.load(file)
    assert (found.scale, found.experiment, found.weight_decay) == ("demo", "decay", 0.001)
    assert {**found.model_dump(), "experiment": whole.experiment, "weight_decay": 0.0} == whole.model_dump()
    assert found.name == "decay" and config.load(file, {"epochs": 20}).name == "decay+epochs=20"
    file = write(tmp_path / "params" / "mine" / "longer.yaml", base=tmp_path / "decay.yaml", epochs=50)
    longer = config.find("any", str(file))  # a file is an experiment, too
    assert (longer.scale, longer.experiment, longer.weight_decay, longer.epochs) == ("mine", "longer", 0.001, 50)


def test_a_base_that_cannot_be_is_one_sentence(tmp_path):
    for base, words in (
        ("demo/convnet-noise2", "line 1: there is no demo/convnet-noise2.yaml; did you mean '.*convnet-noise20.yaml'"),
        ("[1]", "base must name a params file"),
        (f"{tmp_path}/round", "leads back"),
    ):
        with pytest.raises(ConfigError, match=words):
            config.load(write(tmp_path / "round.yaml", base=base))
    file = write(tmp_path / "wrong.yaml", base="demo/convnet-noise20", epoch=5)
    with pytest.raises(ConfigError, match="line 2: 'epoch' is not known; did you mean 'epochs'"):
        config.load(file)


def test_a_scale_of_ones_own_is_found_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(locations, "repository", lambda: tmp_path)
    write(tmp_path / "params" / "mine" / "small.yaml", **{n: v for n, v in WHOLE.items() if v is not None})
    assert config.find("mine", "small").scale == "mine"
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        config.find("min", "small")


WHOLE = {
    "experiment": "small", "scale": "mine", "dataset": "dead_leaves", "n_train": 100, "n_test": 20, "model": "convnet",
    "optimizer": "sgd", "learning_rate": 0.01, "epochs": 2, "widths": [1, 2], "n_clean_points": 2, "n_noisy_points": 2,
}  # fmt: skip


def test_a_compiled_step_has_every_dial(without_codegen):
    images, labels = torch.randn(6, 3, 32, 32), torch.arange(6)[:, None]
    found = []
    for compiled in (False, True):
        network = models.create("convnet", 2, 10, 0, dropout=0.5, batch_norm=True).train()
        for _ in range(2):
            network.zero_grad()
            loss, sums = (graphs.compiled(losses_of) if compiled else losses_of)(network, images, labels, "fp32", 0.1)
            loss.backward()
            if compiled:
                models.advance(network)
        gradients = [p.grad for name, p in network.named_parameters() if "convolutions" not in name or "weight" in name]
        found.append([loss, sums, *gradients])  # batch normalisation takes a convolution's bias away again
        assert network.dropout.step == 2
    for plain, compiled in zip(*found, strict=True):
        torch.testing.assert_close(compiled, plain, rtol=1e-3, atol=1e-5)
