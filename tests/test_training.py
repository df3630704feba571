"""The training loop against a plain one, schedules, augmentation, models."""

import dataclasses
import math
from types import SimpleNamespace

import pytest
import torch
import torchvision
from torch.nn import functional as F

from smooth_interpolation import config
from smooth_interpolation.data import preparation
from smooth_interpolation.errors import ConfigError, UserError
from smooth_interpolation.runs import checkpoints
from smooth_interpolation.train import graphs, loop, models, step
from smooth_interpolation.train.models import ConvNet, ResNet18
from smooth_interpolation.train.step import Recipe

SMALL = {"n_train": 100, "n_test": 50, "epochs": 3, "n_evaluations": 2, "n_clean_points": 4, "n_noisy_points": 4}


def settings_of(**changes):
    return config.find("demo", "convnet-noise20", {**SMALL, **changes})


def flat(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def plain_loop(network, data, settings, seed):
    """What `train` does, as a tutorial would write it: default memory format, no fused optimiser."""
    if settings.optimizer == "adam":
        optimizer = torch.optim.Adam(network.parameters(), lr=settings.learning_rate)
    else:
        optimizer = torch.optim.SGD(network.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    mean, std = (torch.tensor(v).view(3, 1, 1) for v in (data.normalize.mean, data.normalize.std))
    x = ((data.train.images.float() / 255 - mean) / std).to(next(network.parameters()))
    y = data.train.labels
    generator = torch.Generator().manual_seed(seed)
    steps = math.ceil(len(x) / settings.batch_size)
    step = 0
    for _ in range(settings.epochs):
        order = torch.randperm(len(x), generator=generator)
        for batch in order.split(settings.batch_size):
            rate = settings.learning_rate
            if step < settings.warmup_epochs * steps:
                rate = settings.warmup_learning_rate + (rate - settings.warmup_learning_rate) * step / (
                    settings.warmup_epochs * steps
                )
            optimizer.param_groups[0]["lr"] = rate
            optimizer.zero_grad()
            F.cross_entropy(network(x[batch]), y[batch]).backward()
            optimizer.step()
            step += 1


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
@pytest.mark.parametrize("family", ["convnet", "resnet18"])
def test_training_is_a_plain_loop(family, optimizer, monkeypatch):
    if family == "resnet18":  # batch normalisation puts many values near the ReLU's kink, where rounding decides
        monkeypatch.setattr(models.F, "relu", lambda x, inplace: F.softplus(x))
    settings = settings_of(model=family, optimizer=optimizer, warmup_epochs=2, learning_rate=0.003, batch_size=50)
    data = preparation.prepare(settings)
    ours, theirs = models.create(family, 2, 10, seed=1), models.create(family, 2, 10, seed=1)
    assert torch.equal(flat(ours), flat(theirs))
    loop.train(
        ours, data.train.images, data.train.labels, **vars(Recipe.of(settings)), normalize=data.normalize, seed=3
    )
    theirs.train()
    plain_loop(theirs, data, settings, seed=3)
    torch.testing.assert_close(flat(ours), flat(theirs), rtol=2e-3, atol=2e-4)
    start = flat(models.create(family, 2, 10, seed=1))
    moved = (flat(ours) - start).norm()
    assert (flat(ours) - flat(theirs)).norm() < 0.01 * moved


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("augment", [False, True])
def test_the_same_seed_gives_the_same_bits(precision, augment):
    settings = settings_of(precision=precision, augment=augment)
    data = preparation.prepare(settings)

    def trained(seed):
        network = models.create("convnet", 3, 10, seed=seed)
        loop.train(
            network,
            data.train.images,
            data.train.labels,
            **vars(Recipe.of(settings)),
            normalize=data.normalize,
            seed=seed,
        )
        return flat(network)

    assert torch.equal(trained(0), trained(0))
    assert not torch.equal(trained(0), trained(1))


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_trainer_starts_anew_for_another_seed(optimizer, augment):
    settings = settings_of(model="resnet18", optimizer=optimizer, augment=augment, epochs=2)
    data = preparation.prepare(settings)
    train = data.train
    there = preparation.TrainingData.of(train.images, train.labels, data.normalize, "fp32", torch.device("cpu"))
    trainer = loop.Trainer(models.create("resnet18", 1, 10, seed=0), there, Recipe.of(settings), 0)
    trainer.launch()
    trainer.finish()
    trainer.start(1, models.create("resnet18", 1, 10, seed=1).state_dict())
    alone = models.create("resnet18", 1, 10, seed=1)
    loop.train(alone, train.images, train.labels, **vars(Recipe.of(settings)), normalize=data.normalize, seed=1)
    while not trainer.done:
        trainer.launch()
        trainer.finish()
    assert trainer.done == "complete" and torch.equal(flat(trainer.model), flat(alone))


def in_a_stack(data, settings, seeds=(0, 1, 2), dtype=torch.float32):
    """Trainers as on a GPU, where they share a graph; here its replay does the step."""
    train = data.train
    there = preparation.TrainingData.of(train.images, train.labels, data.normalize, "fp32", torch.device("cpu"))
    there = dataclasses.replace(there, images=there.images.to(dtype))
    uncompiled = loop.Acceleration(compile=False)
    networks = [models.create(settings.model, 1 + seed, 10, seed).to(dtype) for seed in seeds]
    trainers = [
        loop.Trainer(network, there, Recipe.of(settings), seed, uncompiled)
        for network, seed in zip(networks, seeds, strict=True)
    ]
    for trainer in trainers:
        trainer.graphed = True
    return trainers


def train_all(trainers):
    while active := [trainer for trainer in trainers if not trainer.done]:
        loop.launch(active)
        for trainer in active:
            trainer.finish()


@pytest.mark.parametrize(("family", "optimizer"), [("convnet", "sgd"), ("convnet", "adam"), ("resnet18", "adam")])
def test_networks_trained_as_one_are_each_alone(family, optimizer):
    settings = settings_of(model=family, batch_size=30, warmup_epochs=2, optimizer=optimizer)  # a shorter last batch
    data = preparation.prepare(settings)
    trainers = in_a_stack(data, settings, dtype=torch.float64)
    train_all(trainers)
    assert trainers[0].graph is trainers[2].graph and trainers[0].graph.stacked
    for seed, trainer in enumerate(trainers):
        alone = models.create(family, 1 + seed, 10, seed).train()
        plain_loop(alone.double(), data, settings, seed)
        moved = flat(alone) - flat(models.create(family, 1 + seed, 10, seed)).double()
        assert (flat(trainer.model) - flat(alone)).norm() < 1e-6 * moved.norm()  # the rate is float32
        for name, buffer in alone.named_buffers():
            if buffer.ndim:  # batch normalisation's running statistics
                torch.testing.assert_close(trainer.model.get_buffer(name), buffer)


def test_networks_trained_as_one_are_augmented_each_by_itself():
    settings = settings_of(augment=True, epochs=2)
    data = preparation.prepare(settings)
    trainers, alone = in_a_stack(data, settings), in_a_stack(data, settings)
    for trainer in alone:
        trainer.graphed = False
    train_all(trainers)
    train_all(alone)
    for trainer, other in zip(trainers, alone, strict=True):
        torch.testing.assert_close(flat(trainer.model), flat(other.model), rtol=1e-4, atol=1e-6)


def test_networks_trained_as_one_are_stopped_and_resumed():
    settings = settings_of(epochs=4)
    data = preparation.prepare(settings)
    whole, first, rest = (in_a_stack(data, settings) for _ in range(3))
    train_all(whole)
    for _ in range(2):
        loop.launch(first)
        progress = [trainer.finish() for trainer in first]
    for trainer, other, found in zip(first, rest, progress, strict=True):
        so_far = SimpleNamespace(step=trainer.step, epoch=found.epoch, done=None)
        checkpoints.restore(other, checkpoints.capture(trainer), so_far)
    train_all(rest)
    assert rest[0].graph.stacked
    for trainer, other in zip(whole, rest, strict=True):
        assert torch.equal(flat(trainer.model), flat(other.model))


def test_a_lost_network_takes_no_other_of_its_stack_along():
    settings = settings_of(epochs=3)
    data = preparation.prepare(settings)
    trainers, others = in_a_stack(data, settings), in_a_stack(data, settings, (0, 2))
    with torch.no_grad():
        trainers[1].model.linear.weight.fill_(1e38)
    train_all(trainers)
    train_all(others)
    assert [trainer.done for trainer in trainers] == ["complete", "diverged", "complete"]
    for trainer, other in zip((trainers[0], trainers[2]), others, strict=True):
        torch.testing.assert_close(flat(trainer.model), flat(other.model), rtol=1e-4, atol=1e-6)


def test_a_captured_step_of_one_network_is_the_step(without_codegen):
    _check_compiled(1)


@pytest.mark.long
def test_a_compiled_step_is_the_step():
    _check_compiled(3)


def _check_compiled(n_networks):
    networks = [models.create("convnet", 2, 10, seed) for seed in range(n_networks)]
    network = step.Stack(networks)
    images, labels = torch.rand(8, 3 * n_networks, 32, 32), torch.randint(0, 10, (8, n_networks))
    found = []
    for losses_of in (step.losses_of, graphs.compiled(step.losses_of)):
        network.zero_grad()
        loss, sums = losses_of(network, images, labels, "fp32")
        loss.backward()
        found.append((loss.detach(), sums, *(p.grad.clone() for p in network.parameters())))
    torch.testing.assert_close(found[1], found[0], rtol=1e-4, atol=1e-6)
    reference = network.double()
    logits = reference(images.double())
    losses = [F.cross_entropy(logits[:, s], labels[:, s]) for s in range(n_networks)]
    torch.testing.assert_close(found[1][0], sum(losses).float(), rtol=1e-6, atol=0)


def test_without_a_compiler_steps_are_captured_as_they_are(monkeypatch, caplog):
    settings = settings_of(epochs=1)
    data = preparation.prepare(settings)
    trained = []
    graphs._say_once.cache_clear()

    def broken(function):
        raise torch._dynamo.exc.TorchDynamoException("no compiler")

    monkeypatch.setattr(graphs, "compiled", broken)
    monkeypatch.setattr(graphs, "COMPILE_FROM", 0)
    for compiled in (False, True):
        trainers = in_a_stack(data, settings)
        for trainer in trainers:
            trainer.acceleration = loop.Acceleration(compile=compiled)
        train_all(trainers)
        trained.append(flat(trainers[0].model))
    assert torch.equal(*trained) and caplog.text.count("no compiler") == 1


@pytest.mark.parametrize("off", ["channels_last", "data_on_device"])  # test_device has the graph
def test_acceleration_changes_rounding_alone(off):
    settings = settings_of()
    data = preparation.prepare(settings)
    trained = []
    for acceleration in (loop.Acceleration(), loop.Acceleration(**{off: False})):
        network = models.create("convnet", 3, 10, seed=0)
        loop.train(
            network,
            data.train.images,
            data.train.labels,
            **vars(Recipe.of(settings)),
            normalize=data.normalize,
            seed=0,
            acceleration=acceleration,
        )
        trained.append(flat(network))
    torch.testing.assert_close(*trained, rtol=1e-3, atol=1e-5)


def test_bf16_trains_in_bfloat16_on_float32_weights():
    settings = settings_of(precision="bf16")
    data = preparation.prepare(settings)
    network, seen = models.create("convnet", 2, 10, seed=0), []
    network.linear.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    loop.train(
        network, data.train.images, data.train.labels, **vars(Recipe.of(settings)), normalize=data.normalize, seed=0
    )
    assert set(seen) == {torch.bfloat16} and {p.dtype for p in network.parameters()} == {torch.float32}


def test_divergence_ends_training():
    settings = settings_of(learning_rate=1e6, warmup_epochs=0)
    data = preparation.prepare(settings)
    network, seen = models.create("convnet", 4, 10, seed=0), []
    completed = loop.train(
        network,
        data.train.images,
        data.train.labels,
        **vars(Recipe.of(settings)),
        normalize=data.normalize,
        seed=0,
        after_epoch=seen.append,
    )
    assert not completed and seen[-1].diverged and seen[-1].epoch <= 3


def test_training_needs_no_params_file_and_is_the_papers_by_default():
    assert Recipe() == dataclasses.replace(Recipe.of(config.find("paper", "convnet-noise20")), precision="fp32")
    settings = settings_of(epochs=2)
    data = preparation.prepare(settings)
    images, labels = data.train.images, data.train.labels
    ours, theirs = (models.create("convnet", 2, 10, seed=0) for _ in range(2))
    loop.train(ours, images, labels, learning_rate=settings.learning_rate, epochs=2, batch_size=settings.batch_size)
    loop.train(theirs, images, labels, **vars(Recipe.of(settings)), normalize=data.normalize)
    assert torch.equal(flat(ours), flat(theirs))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"optimizer": "lion"}, "optimizer is 'lion': it must be one of sgd, adam"),
        ({"precision": "fp16"}, "precision is 'fp16': it must be one of"),
        ({"epochs": 0}, "epochs is 0: it must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"learning_rate": math.nan}, "learning_rate is nan: it must be above 0"),
        ({"images": torch.zeros(4, 3, 32, 32)}, "Images must be .N, C, H, W. uint8 with N labels, not torch.float32"),
        ({"labels": torch.zeros(3, dtype=torch.long)}, "with labels of shape .3,."),
    ],
)
def test_what_nothing_can_be_trained_with_is_a_sentence(change, words):
    given = {"images": torch.zeros(4, 3, 32, 32, dtype=torch.uint8), "labels": torch.arange(4), **change}
    with pytest.raises(UserError, match=words):
        loop.train(ConvNet(1), given.pop("images"), given.pop("labels"), **given)


def test_warm_up_is_linear_then_constant():
    settings = settings_of(warmup_epochs=2, learning_rate=0.01, warmup_learning_rate=0.002)
    rates = [step.learning_rate(i, 4, Recipe.of(settings)) for i in range(10)]
    assert rates[:9] == pytest.approx([0.002 + 0.001 * step for step in range(8)] + [0.01]) and rates[9] == 0.01


def test_images_are_normalised_by_their_own_statistics_or_by_those_that_are_set():
    own = preparation.prepare(settings_of())
    images = own.train.images.double() / 255
    assert own.normalize.mean == pytest.approx(images.mean(dim=(0, 2, 3)).tolist())
    assert own.normalize.std == pytest.approx(images.std(dim=(0, 2, 3), correction=0).tolist())
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.201)
    both = preparation.prepare(settings_of(input_mean=mean, input_std=std))
    assert (both.normalize.mean, both.normalize.std) == (mean, std)
    assert (both.description()["mean"], both.description()["std"]) == (list(mean), list(std))
    half = preparation.prepare(settings_of(input_std=std)).normalize
    assert (half.mean, half.std) == (own.normalize.mean, std)


def test_evaluated_epochs_are_log_spaced():
    epochs = loop.evaluation_epochs(400, 20)
    assert epochs[0] == 1 and epochs[-1] == 400 and len(epochs) <= 20 and epochs == sorted(set(epochs))
    late = [b / a for a, b in zip(epochs[8:], epochs[9:], strict=False)]
    assert max(late) / min(late) < 1.1
    assert loop.evaluation_epochs(3, 20) == [1, 2, 3]
    assert loop.evaluation_epochs(7, 1) == [7] and loop.evaluation_epochs(1, 1) == [1]


@pytest.mark.parametrize(
    ("epochs", "n_last"), [(4000, 10), (400, 10), (105, 10), (100, 7), (60, 10), (3, 10), (1, 5), (50, 0)]
)
def test_the_last_tenth_of_the_epochs_is_evaluated_at_evenly_spaced_moments(epochs, n_last):
    there = [e for e in range(1, epochs + 1) if 10 * e > 9 * epochs]
    late = loop.evaluation_epochs(epochs, 1, n_last)
    assert len(late) == max(1, min(n_last, len(there))) and late[-1] == epochs
    assert set(late) <= set(there) and late == sorted(set(late))
    steps = [b - a for a, b in zip([there[0] - 1, *late], late, strict=False)]
    assert not n_last or max(steps) - min(steps) <= 1
    assert set(loop.evaluation_epochs(epochs, 9, n_last)) == {*loop.evaluation_epochs(epochs, 9), *late}


def test_crops_are_windows_of_the_padded_image():
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(64, 32, 32, 3)
    black = torch.tensor([-1.0, -2.0, -3.0])
    crops = preparation.crop_and_flip(images, black, generator)
    padded = black.expand(64, 40, 40, 3).clone()
    padded[:, 4:-4, 4:-4] = images
    found = set()
    for n in range(64):
        places = [
            (dy, dx, flip)
            for dy in range(9)
            for dx in range(9)
            for flip in (False, True)
            if torch.equal(
                crops[n],
                padded[n, dy : dy + 32, dx : dx + 32].flip(1) if flip else padded[n, dy : dy + 32, dx : dx + 32],
            )
        ]
        assert len(places) == 1
        found.add(places[0])
    assert (
        len({f[0] for f in found}) == 9 and len({f[1] for f in found}) == 9 and {f[2] for f in found} == {False, True}
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_pooling_before_the_relu_changes_no_bit(dtype):
    network = ConvNet(3, 10).to(dtype)
    images = torch.randn(20, 3, 32, 32).to(dtype)

    def usual(x):
        x = F.relu(network.convolutions[0](x))
        for convolution in network.convolutions[1:]:
            x = F.max_pool2d(F.relu(convolution(x)), 2)
        return network.linear(F.max_pool2d(x, 4).flatten(1))

    for forward in (network, usual):
        forward(images).float().square().sum().backward()
        gradients = [p.grad.clone() for p in network.parameters()]
        network.zero_grad()
        if forward is network:
            ours = gradients
    assert all(torch.equal(a, b) for a, b in zip(ours, gradients, strict=True))


@pytest.mark.parametrize("width", [1, 4, 64])
def test_number_of_parameters(width):
    channels = [3, width, 2 * width, 4 * width, 8 * width]
    convolutions = sum(9 * a * b + b for a, b in zip(channels, channels[1:], strict=False))
    assert sum(p.numel() for p in ConvNet(width, 10).parameters()) == convolutions + 8 * width * 10 + 10


def test_resnet18_of_width_64_is_the_usual_one_for_small_images():
    usual = torchvision.models.resnet18(num_classes=10)
    usual.conv1 = torch.nn.Conv2d(3, 64, 3, padding=1, bias=False)
    usual.maxpool = torch.nn.Identity()
    ours = ResNet18(64, 10)
    assert [p.shape for p in ours.parameters()] == [p.shape for p in usual.parameters()]
    ours.load_state_dict(dict(zip(ours.state_dict(), usual.state_dict().values(), strict=True)))
    images = torch.rand(3, 3, 32, 32)
    torch.testing.assert_close(ours.eval()(images), usual.eval()(images))


@pytest.mark.parametrize("family", [ConvNet, ResNet18])
def test_networks_map_images_to_logits(family):
    assert family(1, 7)(torch.zeros(2, 3, 32, 32)).shape == (2, 7)
    for width in (0, -1, 2.5, "3", True):
        with pytest.raises(ConfigError, match="width"):
            family(width, 10)
