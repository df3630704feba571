"""The steps of an epoch as CUDA graphs: captured once per network and batch shape, replayed without the host.

A graph reads everything from tensors that stay in place: the order of the images, the position in it, the learning
rates. So an epoch is its number of replays, and nothing is waited for; another seed of the same network only resets the
tensors (`Trainer.start`).
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from .training import Trainer

WARM_UP = 3  # steps before the capture, in which libraries choose their kernels


class GraphedEpoch:
    """Replays a trainer's steps on a stream of its own; full batches are one graph, a shorter last one another."""

    def __init__(self, trainer: Trainer):
        from .training import learning_rate

        self.trainer = trainer
        data, settings, device = trainer.data, trainer.settings, trainer.device
        self.stream = torch.cuda.Stream(device)
        self.n_full, self.n_last = divmod(len(data), settings.batch_size)
        self.inputs = torch.empty_like(data.images) if settings.augment else data.images
        self.order = torch.zeros(len(data), dtype=torch.long, device=device)
        self.position = torch.zeros((), dtype=torch.long, device=device)
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        n_rates = settings.warmup_epochs * trainer.steps_per_epoch + 1
        rates = [learning_rate(step, trainer.steps_per_epoch, settings) for step in range(n_rates)]
        self.rates = torch.tensor(rates, device=device)
        self.rate = trainer.optimizer.param_groups[0]["lr"]
        before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
        generator = trainer.generator.get_state()
        trainer.model.train()
        sizes = [settings.batch_size] * bool(self.n_full) + [self.n_last] * bool(self.n_last)
        self.graphs = {size: self._capture(size) for size in sizes}
        trainer.start(0, before)
        trainer.generator.set_state(generator)

    def epoch(self, order: Tensor, inputs: Tensor, skip: int = 0) -> Iterator[None]:
        """An epoch's replays, one at each `next`: `order` on the host, `inputs` augmented if there is augmentation.

        The first `skip` batches are left out: they were done before a checkpoint.
        """
        trainer = self.trainer
        sizes = [trainer.settings.batch_size] * self.n_full + [self.n_last] * bool(self.n_last)
        self.stream.wait_stream(torch.cuda.current_stream(trainer.device))
        with torch.cuda.stream(self.stream):
            self.order.copy_(order.pin_memory(), non_blocking=True)
            if inputs is not self.inputs:
                self.inputs.copy_(inputs)
                inputs.record_stream(self.stream)  # else its memory may be reused before the copy
            self.position.fill_(sum(sizes[:skip]))
            self.step.fill_(trainer.step)
        trainer.step += len(sizes) - skip
        for size in sizes[skip:]:
            with torch.cuda.stream(self.stream):
                self.graphs[size].replay()
            yield

    def finish(self) -> None:
        self.stream.synchronize()

    def _capture(self, size: int) -> torch.cuda.CUDAGraph:
        self.stream.wait_stream(torch.cuda.current_stream(self.trainer.device))
        with torch.cuda.stream(self.stream):
            for _ in range(WARM_UP):
                self.position.zero_()
                self._step(size)
        self.stream.synchronize()
        self.position.zero_()
        graph = torch.cuda.CUDAGraph()
        gc.collect()  # not during the capture, which fails if an older graph is freed
        gc.disable()
        try:
            with torch.cuda.graph(graph, stream=self.stream):
                self._step(size)
        finally:
            gc.enable()
        return graph

    def _step(self, size: int) -> None:
        """One step as a pure function of tensors on the device."""
        trainer = self.trainer
        places = self.position + torch.arange(size, device=trainer.device)
        batch = self.order[places]
        # A tensor without dimensions would be read by the host to index with it.
        self.rate.copy_(self.rates[self.step.clamp(max=len(self.rates) - 1)].squeeze(0))
        trainer.train_on(self.inputs[batch], trainer.data.labels[batch])
        self.position += size
        self.step += 1
