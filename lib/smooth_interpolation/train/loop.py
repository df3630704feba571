"""The training loop: data on the device, no worker processes, the same bits for the same seed (Section 4).

Images are normalised once and stay on the device as (N, H, W, C), the layout that convolutions like best
(`channels_last`); batches and augmentation are index operations there. With `bf16`, `torch.autocast` runs the network
in bfloat16 around float32 weights. A GPU replays the whole step, compiled, as one CUDA graph and is not waited for within
an epoch; several networks can train on it side by side.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import InitVar, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..config import unknown_name
from ..data.preparation import Normalization, TrainingData, crop_and_flip
from ..errors import ConfigError, DataError
from ..measure.foreign import full_precision
from ..measure.losses import Loss
from .graphs import GraphedEpoch, capture
from .step import Recipe, learning_rate, losses_of, optimizer_of, own_losses, put_buffer


@dataclass(frozen=True)
class Progress:
    """How an epoch went; `diverged` when its loss was not finite, and training stops."""

    epoch: int
    loss: float  # mean crossentropy over the epoch's batches, with the labels trained on
    error: float  # share of wrong predictions over the epoch's batches, in percent
    diverged: bool


@dataclass(frozen=True)
class Acceleration:
    """What makes training fast and leaves its results alone but for rounding; each can be turned off to compare."""

    channels_last: bool = True
    data_on_device: bool = True  # else every batch is copied from the host
    cuda_graph: bool = True  # on a GPU
    compile: bool = True  # a graph's step, by PyTorch's compiler, where training is long enough
    stack: bool = True  # narrow networks in one graph, as one network


def evaluation_epochs(epochs: int, n: int, n_last: int = 0) -> list[int]:
    """At most n epochs, spaced evenly in the logarithm, the first and the last included; and n_last of the last tenth.

    A network trained at a constant rate may still jump from epoch to epoch, which the n_last epochs e with 0.9 epochs < e <= epochs,
    evenly spaced, the last included, show; where there are fewer, it is all there are.

    Example:
        >>> evaluation_epochs(100, 3, n_last=5)
        [1, 10, 92, 94, 96, 98, 100]
    """
    spread = {epochs} if n == 1 else {round(e) for e in np.geomspace(1, epochs, n)} | {1, epochs}
    there = epochs - 9 * epochs // 10
    n_last = min(n_last, there)
    return sorted(spread | {epochs - i * there // n_last for i in range(n_last)})


@dataclass(eq=False)
class Trainer:
    """A network in training, an epoch at a time, in place and on the device it is on.

    The data are there too, or on the host without `data_on_device`. A `loss`, from outputs and targets to one number per
    sample, takes the place of the crossentropy.
    """

    model: nn.Module
    data: TrainingData
    recipe: Recipe
    seed: InitVar[int]
    acceleration: Acceleration = Acceleration()
    loss: Loss | None = None

    def __post_init__(self, seed: int) -> None:
        self.device, made = next(self.model.parameters()).device, self.recipe.optimizer
        if self.acceleration.channels_last:
            self.model.to(memory_format=torch.channels_last)
        self.steps_per_epoch = math.ceil(len(self.data) / self.recipe.batch_size)
        self.sums = torch.zeros(2, dtype=torch.float64, device=self.device)  # of losses, and of wrong predictions
        self.optimizer = made(self.model.parameters()) if callable(made) else optimizer_of(self.model, self.recipe)
        on_gpu = self.device.type == self.data.images.device.type == "cuda"
        self.graphed = self.acceleration.cuda_graph and on_gpu and self.loss is None and isinstance(made, str)
        self.graph: GraphedEpoch | None = None  # captured before the first epoch
        self.start(seed)

    def start(self, seed: int, weights: dict[str, Tensor] | None = None) -> None:
        """Begin anew: from `weights`, or else from the model as it is, keeping a captured graph."""
        if weights is not None:
            self.model.load_state_dict(weights)
        for state in self.optimizer.state.values():
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()
        self.generator = torch.Generator().manual_seed(seed)
        self.step = self.epoch = 0
        self.done: str | None = None  # "complete" or "diverged"
        self.error: Exception | None = None  # what ended it, while those beside it go on

    @property
    def reusable(self) -> bool:
        """Can another seed `start` here, in this trainer's captured graph?"""
        return self.graph is None or not self.graph.stacked

    @property
    def within_epoch(self) -> bool:
        return self.step < self.epoch * self.steps_per_epoch

    def launch(self) -> None:
        """Start the next epoch, see `launch`."""
        launch([self])

    def begin(self) -> tuple[Tensor, Tensor, int]:
        """Begin the next epoch: the order of its images, the images, and the number of batches that are done already."""
        self.epoch += 1
        skip = self.step - (self.epoch - 1) * self.steps_per_epoch  # batches done before a checkpoint within the epoch
        self.epoch_began = self.generator.get_state()
        self.model.train()
        order = torch.randperm(len(self.data), generator=self.generator)
        inputs = self.data.images
        if self.recipe.augment:
            inputs = crop_and_flip(inputs, self.data.black, self.generator)
        if not skip:
            self.sums.zero_()
        return order, inputs, skip

    def eager_epoch(self) -> Iterator[None]:
        """The next epoch's steps, one at each `next`."""
        order, inputs, skip = self.begin()
        order = order.to(inputs.device)
        for batch in order.split(self.recipe.batch_size)[skip:]:
            if isinstance(self.recipe.optimizer, str):  # one of the caller's keeps its own rate
                rate = learning_rate(self.step, self.steps_per_epoch, self.recipe)
                self.optimizer.param_groups[0]["lr"] = rate
            self.train_on(inputs[batch].to(self.device), self.data.labels[batch].to(self.device))
            self.step += 1
            yield

    def finish(self) -> Progress:
        """Wait for the epoch that was launched; what went wrong in it is raised here."""
        if self.graph and not self.error:
            self.graph.finish()
        if self.error:
            raise self.error
        loss, wrong = (self.sums / len(self.data)).tolist()
        finite = torch.stack([parameter.isfinite().all() for parameter in self.model.parameters()])
        diverged = not (math.isfinite(loss) and bool(finite.all()))  # a GPU is waited for once
        if diverged or self.epoch == self.recipe.epochs:
            self.done = "diverged" if diverged else "complete"
        return Progress(self.epoch, loss, 100 * wrong, diverged)

    def train_on(self, images: Tensor, labels: Tensor) -> None:
        """One step of the optimiser on a batch of images (B, H, W, C)."""
        precision = self.recipe.precision
        with full_precision(precision == "tf32"):
            x = images.permute(0, 3, 1, 2)
            if self.loss:
                loss, sums = own_losses(self.model, x, labels, precision, self.loss)
            else:
                loss, sums = losses_of(self.model, x, labels[:, None], precision, self.recipe.label_smoothing)
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            self.optimizer.step()
        self.sums += sums[0]

    def leave_stack(self) -> None:
        """Go on without the others of a stack, from the start of this epoch."""
        self.graph, self.acceleration = None, dataclasses.replace(self.acceleration, stack=False)
        for parameter in self.model.parameters():
            parameter.data = parameter.data.clone()
            state = self.optimizer.state[parameter]
            self.optimizer.state[parameter] = {name: value.clone() for name, value in state.items()}
        for name, buffer in self.model.named_buffers():
            put_buffer(self.model, name, buffer.clone())
        self.sums = self.sums.clone()
        self.generator.set_state(self.epoch_began)
        self.epoch -= 1
        self.step = self.epoch * self.steps_per_epoch
        self.launch()
        if self.graph and not self.error:
            self.graph.finish()


def launch(trainers: Iterable[Trainer]) -> None:
    """Start the next epoch of each; a GPU goes on by itself until `Trainer.finish` waits for it, a CPU does it."""
    for _ in steps(trainers):
        pass


def steps(trainers: Iterable[Trainer]) -> Iterator[None]:
    """Start the next epoch of each, a step of each at every `next`: given to a GPU in turn, they overlap there.

    What goes wrong with one of them is its `error`, while those beside it go on.
    """
    trainers = list(trainers)
    capture(trainers)
    together: dict[object, list[Trainer]] = {}
    for trainer in trainers:
        if not trainer.error:
            together.setdefault(trainer.graph or trainer, []).append(trainer)
    under_way = [(p, p[0].graph.epoch(p) if p[0].graph else p[0].eager_epoch()) for p in together.values()]
    while under_way:
        for part, epoch in list(under_way):
            try:
                ended = next(epoch, epoch) is epoch
            except Exception as error:
                for trainer in part:
                    trainer.error = error
                ended = True
            if ended:
                under_way.remove((part, epoch))
        yield


def train(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    loss: Loss | None = None,
    normalize: Normalization | None = None,
    seed: int = 0,
    after_epoch: Callable[[Progress], None] = lambda progress: None,
    acceleration: Acceleration = Acceleration(),
    **recipe: Any,
) -> bool:
    """Train any network in place, on the device it is on; by default as `Recipe` has it, the paper's ConvNets'.

    Args:
        model: from normalised images to logits, or to whatever `loss` takes.
        images: (N, C, H, W) uint8.
        labels: (N,) int64, noisy where noisy; with a `loss`, targets (N, ...) of any kind.
        loss: from outputs and targets (B, ...) to one loss per sample (B,), as `examine` takes it; None: the crossentropy.
        normalize: applied to images in [0, 1]; None: by their own mean and standard deviation per channel.
        seed: of the order of the batches and of the augmentation.
        after_epoch: called with every epoch's progress; it may evaluate the model, and must not change it.
        acceleration: parts of it can be turned off.
        recipe: the fields of `Recipe`: learning_rate, epochs and others; `optimizer` may be a function from parameters to a
            `torch.optim.Optimizer`, too, which keeps its own rate and decay: no warm-up, no schedule.

    Returns:
        True when all epochs were run, False when the loss stopped being finite.

    Raises:
        ConfigError, DataError: for settings, images or labels that nothing can be trained with.

    Example:
        >>> from smooth_interpolation.train.models import ConvNet
        >>> images, labels = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8), torch.arange(20) % 10
        >>> train(ConvNet(width=2), images, labels, learning_rate=0.01, epochs=2)
        True
        >>> train(ConvNet(width=2), images, labels, optimizer=lambda p: torch.optim.AdamW(p, lr=1e-3), epochs=1)
        True
    """
    if unknown := set(recipe) - set(known := Recipe.__dataclass_fields__):
        raise ConfigError(f"train: {unknown_name(min(unknown), known)}")
    chosen = Recipe(**recipe)
    if images.dtype != torch.uint8 or images.ndim != 4 or labels.shape[:1] != images.shape[:1] or not len(labels):
        given = f"{images.dtype} of shape {tuple(images.shape)} with labels of shape {tuple(labels.shape)}"
        raise DataError(f"Images must be (N, C, H, W) uint8 with N labels, not {given}.")
    if loss is None and (labels.ndim != 1 or labels.dtype != torch.long):
        raise DataError(f"Labels must be (N,) int64, not {tuple(labels.shape)} {labels.dtype}: give a loss for others.")
    place = next(model.parameters()).device if acceleration.data_on_device else torch.device("cpu")
    data = TrainingData.of(images, labels, normalize or Normalization.of(images), chosen.precision, place)
    trainer = Trainer(model, data, chosen, seed, acceleration, loss)
    while not trainer.done:
        trainer.launch()
        after_epoch(trainer.finish())
    return trainer.done == "complete"
