"""The steps of an epoch as CUDA graphs: compiled and captured once per width and batch shape, replayed without the host.

A graph reads everything from tensors that stay in place: the order of the images, the position in it, the learning
rates. So an epoch is its number of replays, and nothing is waited for; another seed of the same network only resets the
tensors (`Trainer.start`). Narrow networks that are at the same step are trained as one, see `step`: their trainers then
hold views of its weights.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from .. import locations
from ..measure.foreign import full_precision
from . import models
from .step import Stack, channels, learning_rate, losses_of, optimizer_of, pack, put_buffer, scheduled_steps

if TYPE_CHECKING:
    from .loop import Trainer

log = logging.getLogger(__name__)

COMPILED, DEFAULT = "TORCHINDUCTOR_CACHE_DIR", "torchinductor_"  # PyTorch's variable, and how its own choice begins
COMPILE_FROM = 10_000_000  # images to train on; for fewer, compiling takes longer than it saves
WARM_UP = 3  # steps before the capture, in which libraries choose their kernels


def capture(trainers: Sequence[Trainer]) -> None:
    """Give a graph to each trainer that has none, or an error; narrow networks that are at the same step share one."""
    alike: dict[object, list[Trainer]] = {}
    for trainer in trainers:
        if trainer.graph is None and trainer.graphed:
            alike.setdefault(_kind(trainer), []).append(trainer)
    for group in alike.values():
        for places in pack([channels(trainer.model) or 0 for trainer in group]):
            part = [group[place] for place in places]
            try:
                GraphedEpoch(part)
            except Exception as error:
                for trainer in part:
                    trainer.error = error


def _kind(trainer: Trainer) -> object:
    """The same for trainers that can be one."""
    if not trainer.acceleration.stack or channels(trainer.model) is None:
        return id(trainer)
    layers = tuple(name for name, _ in trainer.model.named_buffers())
    return type(trainer.model), layers, id(trainer.data), trainer.step, trainer.recipe


class GraphedEpoch:
    """Replays the steps of trainers on a stream of its own; full batches are one graph, a shorter last one another.

    The trainers are of one family, with the same data and recipe, at the same step; several are trained as one.
    """

    def __init__(self, trainers: Sequence[Trainer]):
        first = trainers[0]
        self.trainers, self.recipe, self.device, self.data = list(trainers), first.recipe, first.device, first.data
        on_gpu = self.device.type == "cuda"
        self.stream = torch.cuda.Stream(self.device) if on_gpu else None
        self.model: nn.Module = first.model
        self.optimizer = first.optimizer
        if self.stacked:
            self.model = Stack([trainer.model for trainer in trainers])
            if first.acceleration.channels_last:
                self.model.to(memory_format=torch.channels_last)
            self.optimizer = optimizer_of(self.model, self.recipe)
        n, size, steps = len(self.data), self.recipe.batch_size, first.steps_per_epoch
        self.sizes = [size] * (n // size) + [n % size] * bool(n % size)
        images = self.data.images
        self.inputs = images.new_empty(len(trainers), *images.shape) if self.recipe.augment else images
        self.orders = torch.zeros(len(trainers), n, dtype=torch.long, device=self.device)
        self.sums = torch.zeros(len(trainers), 2, dtype=torch.float64, device=self.device)
        self.position, self.step = (torch.zeros(1, dtype=torch.long, device=self.device) for _ in range(2))
        rates = [learning_rate(step, steps, self.recipe) for step in range(scheduled_steps(steps, self.recipe) + 1)]
        self.rates = torch.tensor(rates, device=self.device)
        # A captured step reads it anew each time.
        self.rate = torch.tensor(self.recipe.learning_rate, device=self.device)
        self.optimizer.param_groups[0]["lr"] = self.rate
        self._capture_all()

    @property
    def stacked(self) -> bool:
        return len(self.trainers) > 1

    def epoch(self, trainers: Sequence[Trainer]) -> Iterator[None]:
        """An epoch's replays, one at each `next`, for those of the trainers that still train."""
        begun = [(trainer, *trainer.begin()) for trainer in trainers]
        self._training = list(trainers)
        skip = begun[0][3]  # batches that were done before a checkpoint
        if self.stacked:
            self._before = [tensor.clone() for tensor in self._state()]
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with self._streaming():
            for trainer, order, inputs, _ in begun:
                order = order.pin_memory() if self.stream else order
                self.orders[self.trainers.index(trainer)].copy_(order, non_blocking=True)
                if self.recipe.augment:
                    self.inputs[self.trainers.index(trainer)].copy_(inputs)
                    if self.stream:
                        inputs.record_stream(self.stream)  # else its memory may be reused before the copy
            self.position.fill_(sum(self.sizes[:skip]))
            self.step.fill_(begun[0][0].step)
        for trainer in trainers:
            trainer.step += len(self.sizes) - skip
        for size in self.sizes[skip:]:
            with self._streaming():
                self.graphs[size].replay()
            yield

    def finish(self) -> None:
        """Wait for the epoch. If a network of a stack was lost, the others', which its numbers touched, go back and on alone."""
        if self.stream:
            self.stream.synchronize()
        if not self.stacked or bool(torch.isfinite(self.sums).all()):
            return
        with torch.no_grad():
            for tensor, before in zip(self._state(), self._before, strict=True):
                tensor.copy_(before)
        for trainer in self._training:
            trainer.leave_stack()

    def _state(self) -> Iterator[Tensor]:
        """Everything that a step changes, but for places and sums."""
        yield from self.model.state_dict().values()
        for parameter in self.model.parameters():
            yield from (v for v in self.optimizer.state[parameter].values() if isinstance(v, Tensor))

    @torch.no_grad()
    def _capture_all(self) -> None:
        own = [_copies(trainer) for trainer in self.trainers]
        before = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
        self.model.train()
        with full_precision(self.recipe.precision == "tf32"):
            self.graphs = {size: self._capture(size) for size in sorted(set(self.sizes), reverse=True)}
        self.model.load_state_dict(before)
        for s, (trainer, copies) in enumerate(zip(self.trainers, own, strict=True)):
            if isinstance(self.model, Stack):
                self._share(trainer, s)
            for theirs in trainer.model.parameters():
                for name, value in trainer.optimizer.state[theirs].items():
                    if isinstance(value, Tensor):
                        value.copy_(copies[theirs][name]) if name in copies[theirs] else value.zero_()
            trainer.sums, trainer.graph = self.sums[s], self
            trainer.sums.copy_(copies["sums"])

    def _share(self, trainer: Trainer, s: int) -> None:
        """Have a trainer hold views of its part of the stack."""
        stack = self.model
        assert isinstance(stack, Stack)
        ours = dict(stack.network.named_parameters())
        for name, theirs in trainer.model.named_parameters():
            whole = ours[name]
            theirs.data = stack.part(name, whole.data, s)
            trainer.optimizer.state[theirs] = {
                key: stack.part(name, value, s) if value.shape == whole.shape else value
                for key, value in self.optimizer.state[whole].items()
            }
        for name, buffer in stack.network.named_buffers():
            if not name.endswith(".mask"):
                put_buffer(trainer.model, name, stack.part(name, buffer, s))

    def _capture(self, size: int) -> Any:
        long = self.recipe.epochs * len(self.data) >= COMPILE_FROM
        often = size == self.recipe.batch_size  # not once an epoch
        compile_it = self.trainers[0].acceleration.compile and long and often
        if self.stream:
            self.stream.wait_stream(torch.cuda.current_stream(self.device))
        with self._streaming(), torch.enable_grad():
            try:
                self._warm_up(size, compile_it)
            except Exception as error:
                if not compile_it or isinstance(error, torch.OutOfMemoryError):
                    raise
                compile_it = False
                _say_once(f"{type(error).__name__}: {str(error).strip().splitlines()[0]}")
                self._warm_up(size, compile_it)
        if not self.stream:
            return SimpleNamespace(replay=lambda: self._step(size, compile_it))
        self.stream.synchronize()
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # not during the capture, which fails if an older graph is freed
        gc.disable()
        try:
            with torch.enable_grad(), torch.cuda.graph(graph, stream=self.stream):
                self._step(size, compile_it)
        finally:
            gc.enable()
        return graph

    def _warm_up(self, size: int, compile_it: bool) -> None:
        for _ in range(WARM_UP):
            self.position.zero_()
            self._step(size, compile_it)
        self.position.zero_()

    def _step(self, size: int, compile_it: bool) -> None:
        """One step as a pure function of tensors on the device."""
        take = compiled(_next_batch) if compile_it else _next_batch
        losses = compiled(losses_of) if compile_it else losses_of
        places = self.orders, self.position, self.step, self.rates, self.rate
        images, labels = take(self.inputs, self.data.labels, *places, size)
        loss, sums = losses(self.model, images, labels, self.recipe.precision, self.recipe.label_smoothing)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.optimizer.step()
        self.sums += sums
        if compile_it:
            models.advance(self.model)

    def _streaming(self) -> contextlib.AbstractContextManager[Any]:
        return torch.cuda.stream(self.stream) if self.stream else contextlib.nullcontext()


@torch.no_grad()
def _next_batch(
    images: Tensor,
    labels: Tensor,
    orders: Tensor,
    position: Tensor,
    step: Tensor,
    rates: Tensor,
    rate: Tensor,
    size: int,
) -> tuple[Tensor, Tensor]:
    """The next batch of S networks, (B, S * C, H, W) and labels (B, S), and the rate of the step; the places go on.

    Images are (N, H, W, C), or (S, N, H, W, C) if each network has its own.
    """
    batch = orders[:, position + torch.arange(size, device=position.device)].T
    rate.copy_(rates[step.clamp(max=len(rates) - 1)].squeeze(0))
    chosen = images[batch] if images.ndim == 4 else images[torch.arange(len(orders), device=batch.device), batch]
    x = chosen.permute(0, 2, 3, 1, 4).flatten(3).permute(0, 3, 1, 2)
    y = labels[batch]
    position += size
    step += 1
    return x, y


@cache
def compiled(function: Any) -> Any:
    """The function through PyTorch's compiler, whose results are kept in the cache."""
    import torch._dynamo

    # PyTorch puts its own default into the variable as soon as it is loaded: only a user's choice stays.
    if Path(os.environ.get(COMPILED, DEFAULT)).name.startswith(DEFAULT):
        os.environ[COMPILED] = str(locations.cache() / "compiled")
    # Every width is a shape of its own: none is left to the interpreter for there being many.
    torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 4096
    return torch.compile(function, dynamic=False, fullgraph=True)


@cache
def _say_once(why: str) -> None:
    log.warning("Steps are captured uncompiled, which is slower: the compiler does not work here (%s).", why)


def _copies(trainer: Trainer) -> dict[Any, Any]:
    found: dict[Any, Any] = {"sums": trainer.sums.clone()}
    for parameter in trainer.model.parameters():
        state = trainer.optimizer.state.get(parameter, {})
        found[parameter] = {name: value.clone() for name, value in state.items() if isinstance(value, Tensor)}
    return found
