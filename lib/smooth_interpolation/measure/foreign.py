"""What a caller brings, networks, normalisations, losses and arrays: called on copies, put back, their failures in a sentence."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakIdKeyDictionary

from ..errors import ConfigError, DataError, UserError

AGAIN = 20  # times that an image is asked for, to see what is random: one that is mirrored half the time is seen but for 1e-6


@contextlib.contextmanager
def in_one_sentence(what: str) -> Iterator[None]:
    """Whatever foreign code raises as one of our errors, in its own words: the line of them that says most."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        text = str(error)
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        words = (lines[-1] if "Traceback" in text else lines[0]) if lines else ""
        named = isinstance(error, KeyError) or not words  # a key alone says nothing
        words = f"{type(error).__name__}: {words}" if named and words else words or type(error).__name__
        known = (
            error if isinstance(error, MemoryError | torch.OutOfMemoryError) else None
        )  # who can give more asks for it
        raise DataError(f"{what}: {words.rstrip('.')}.") from known


def usable(tensor: Tensor) -> Tensor:
    """The tensor, or a copy of one made under `torch.inference_mode`, which no gradient can be taken through."""
    return tensor.clone() if tensor.is_inference() else tensor


# Networks

_plain = WeakIdKeyDictionary()  # that take their inputs in the plain layout alone


def check_model(model: nn.Module) -> None:
    """Refuse what is no network, or has no parameters yet, in one sentence."""
    if not isinstance(model, nn.Module):
        raise ConfigError(f"The network must be a torch.nn.Module, not a {type(model).__name__}.")
    tensors = (*model.parameters(), *model.buffers())
    if any(tensor.is_meta for tensor in tensors):
        raise ConfigError("The network is on the device 'meta', without values: load its weights first.")
    if any(nn.parameter.is_lazy(tensor) for tensor in tensors):
        raise ConfigError("The network has uninitialised parameters: call it once on a batch of images first.")


def model_type(model: nn.Module) -> tuple[torch.dtype | None, torch.device | None]:
    """The type and the device of the network's parameters; None where it has none.

    Raises:
        ConfigError: if some are narrower than float32.
    """
    check_model(model)
    parameters = [p for p in model.parameters() if p.is_floating_point()]
    for parameter in parameters:
        if parameter.dtype not in (torch.float32, torch.float64):
            raise ConfigError(
                f"The network is {parameter.dtype}: sharpness needs float32 or wider; call model.float() first."
            )
    return (parameters[0].dtype, parameters[0].device) if parameters else (None, None)


@contextlib.contextmanager
def full_precision(tf32: bool = False) -> Iterator[None]:
    """Float32 means float32, unless `tf32` allows TensorFloat-32 in convolutions and matrix products: 10 bits of mantissa, not 23."""
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = matmul.allow_tf32
    matmul.allow_tf32 = tf32
    try:
        with cudnn.flags(
            enabled=cudnn.enabled, benchmark=cudnn.benchmark, deterministic=cudnn.deterministic, allow_tf32=tf32
        ):
            yield
    finally:
        matmul.allow_tf32 = before


@contextlib.contextmanager
def measuring(model: nn.Module, *others: object) -> Iterator[None]:
    """Evaluation mode, no parameter gradients, full precision, nothing compiled; all is put back on leaving, errors or not.

    Args:
        model: the network.
        others: of these, modules are treated like it.
    """
    check_model(model)
    device = next((p.device.type for p in model.parameters()), "cpu")
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.inference_mode(False))
        stack.enter_context(torch.enable_grad())
        stack.enter_context(torch.autocast(device, enabled=False))
        stack.enter_context(full_precision())
        for network in (model, *(other for other in others if isinstance(other, nn.Module))):
            _replace_inference_tensors(network, stack)
            stack.enter_context(evaluating(network, "network" if network is model else "loss"))
            for parameter in network.parameters():
                stack.callback(parameter.requires_grad_, parameter.requires_grad)
                parameter.requires_grad_(False)  # the backward pass then computes the input's gradient alone
        yield


@contextlib.contextmanager
def evaluating(module: nn.Module, name: str) -> Iterator[None]:
    """Evaluation mode, nothing compiled; the mode of every module in it is put back."""
    modes = [(part, part.training) for part in module.modules() if hasattr(part, "training")]  # frozen ones have none
    # Chunks and layouts vary, and each would be compiled anew. Where dynamo is not loaded, which takes seconds, nothing can be.
    loaded = "torch._dynamo" in sys.modules
    try:
        with in_one_sentence(f"The {name} cannot be put into evaluation mode"):
            module.eval()
        with torch.compiler.set_stance("force_eager") if loaded else contextlib.nullcontext():
            yield
    finally:
        for part, mode in modes:
            part.training = mode


def _replace_inference_tensors(network: nn.Module, stack: contextlib.ExitStack) -> None:
    """Parameters and buffers made under `torch.inference_mode`, for the time being, by copies of them."""
    for module in network.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if parameter.is_inference():
                stack.callback(module._parameters.__setitem__, name, parameter)
                module._parameters[name] = nn.Parameter(parameter.clone(), requires_grad=False)
        for name, buffer in list(module.named_buffers(recurse=False)):
            if buffer.is_inference():
                stack.callback(module._buffers.__setitem__, name, buffer)
                module._buffers[name] = buffer.clone()


def outputs(model: nn.Module, inputs: Tensor) -> Any:
    """What the network returns, inside `measuring`.

    It is given a copy, since networks may begin with an in-place operation: in the layout that a CPU's convolutions like best,
    or, from then on, in the plain one if it does not take that, such as one with a `view`.
    """
    if model not in _plain:
        on_cpu = inputs.ndim == 4 and inputs.device.type == "cpu"
        with contextlib.suppress(Exception):
            return model(inputs.clone(memory_format=torch.channels_last if on_cpu else torch.preserve_format))
    what = "a single image" if len(inputs) == 1 else "images"
    with in_one_sentence(f"The network cannot take {what} of shape {tuple(inputs.shape[1:])}"):
        found = model(inputs.clone(memory_format=torch.contiguous_format))
    _plain[model] = True
    return found


# Normalisations


class Normalizer:
    """A caller's normalisation, given a copy of one plain batch (N, C, H, W) at a time, and checked on the first of them.

    Called with images (..., C, H, W), it returns (..., *), the network's inputs in the images' type and place.
    """

    def __init__(self, normalize: Callable[[Tensor], Tensor]):
        self.normalize, self.checked = normalize, False
        self.place: torch.device | None = None
        if isinstance(normalize, nn.Module):
            self.place = next((tensor.device for tensor in (*normalize.parameters(), *normalize.buffers())), None)

    def __call__(self, images: Tensor) -> Tensor:
        batch = images.flatten(0, -4)
        if not self.checked and len(batch):
            self._check(batch[:1])
            self.checked = True
        return self._inputs(batch).unflatten(0, images.shape[:-3])

    def _inputs(self, batch: Tensor) -> Tensor:
        module = self.normalize if isinstance(self.normalize, nn.Module) else nn.Identity()
        refused = in_one_sentence(f"normalize cannot take images of shape {tuple(batch.shape)}")
        with torch.no_grad(), evaluating(module, "normalisation"), refused:
            found = self.normalize(batch.to(self.place).clone(memory_format=torch.contiguous_format))
        if not isinstance(found, Tensor) or not found.is_floating_point() or found.ndim < 2 or len(found) != len(batch):
            kind = f"{found.dtype} of shape {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise DataError(
                f"normalize must return floating point inputs, one for each of {len(batch)} images, not {kind}."
            )
        if not torch.isfinite(found).all():
            raise DataError(
                "normalize gives values that are NaN or infinite: does it divide by the deviation of an image, which is "
                "0 where all its singular values are erased?"
            )
        return found.detach().to(batch)

    def _check(self, image: Tensor) -> None:
        """Refuse what is no function of each image by itself."""
        alone, *again = (self._inputs(image) for _ in range(1 + AGAIN))
        beside = self._inputs(torch.cat([image, 0.5 + 0.25 * image]))[:1]
        if not all(_close(alone, other) for other in again):
            raise DataError("normalize gives another answer each time: leave random augmentation out of it.")
        if not _close(alone, beside):
            raise DataError(
                "normalize's answer to an image depends on the others of its batch: it must take means and the like over "
                "each image."
            )


def normalizer(normalize: Callable[[Tensor], Tensor] | None) -> Callable[[Tensor], Tensor]:
    """A normalisation that can be called in safety, see `Normalizer`; None: the network takes images as they are."""
    if normalize is None:
        return lambda images: images
    if not callable(normalize):
        raise ConfigError(f"normalize must be a function from images to the network's input, not {normalize!r}.")
    return normalize if isinstance(normalize, Normalizer) else Normalizer(normalize)


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-3, atol=1e-4)


# Losses


def losses(loss: Callable[[Any, Tensor], Tensor], outputs: Any, targets: Tensor) -> Any:
    """What a caller's loss returns for copies of outputs and targets, which it may change.

    Outputs may be anything. Tensors in them and floating targets are float64, unless the loss is not for these, such as
    one with class weights in float32: then they have the type that they came in.
    """
    described = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"of type {type(outputs).__name__}"
    with contextlib.suppress(Exception):
        return loss(_copies(outputs, wide=True), _copies(targets, wide=True))
    with in_one_sentence(f"The loss cannot take outputs {described} and targets {tuple(targets.shape)}"):
        return loss(_copies(outputs), _copies(targets))


def _copies(values: Any, wide: bool = False) -> Any:
    """Copies of the tensors in nested tuples, lists, mappings and dataclasses; other objects as they are."""

    def copied(value: Any) -> Any:
        if isinstance(value, Tensor):
            widened = wide and value.is_floating_point() and value.device.type != "mps"
            return value.to(torch.float64 if widened else value.dtype, copy=True)
        if dataclasses.is_dataclass(value) and not isinstance(value, type | dict):
            fresh = copy.copy(value)
            for field in dataclasses.fields(value):
                object.__setattr__(fresh, field.name, _copies(getattr(value, field.name), wide))
            return fresh
        return value

    return tree_map(copied, values)


# Arrays


def tensor(values: Any, what: str) -> Tensor:
    """Any array-like as a tensor: lists, NumPy's of any stride, order and type, pandas' of any index, tensors, numbers.

    Args:
        values: the numbers.
        what: they are, for the sentence that refuses text and the like.

    Raises:
        DataError: in one sentence.
    """
    if isinstance(values, list | tuple) and values and all(isinstance(value, Tensor) for value in values):
        with in_one_sentence(f"{what} cannot be put together"):
            values = torch.stack([usable(value.detach()).cpu() for value in values])
    if isinstance(values, Tensor):
        if values.layout != torch.strided or values.is_meta:
            raise DataError(f"{what} are a tensor that is sparse or without values: give a dense one, `.to_dense()`.")
        found = usable(values.detach())
        return found.long() if found.dtype in (torch.uint16, torch.uint32, torch.uint64) else found
    if np.ma.is_masked(values):
        raise DataError(f"{what} have masked entries: leave these out, or fill them.")
    with in_one_sentence(f"{what} cannot be read as an array"):
        array = np.asarray(values)
        if array.dtype == object:  # such as pandas' own types, or a column of numbers among text
            kinds = {type(value) for value in array.ravel()}
            number = int | float | np.number | np.bool_
            if array.ndim and kinds and all(issubclass(kind, number) for kind in kinds):
                array = np.array(array.tolist())
    if array.dtype.kind not in "biuf":
        example = " ".join(repr(next(iter(array.ravel().tolist()), None)).split())
        raise DataError(f"{what} must be numbers, not {example:.60}: number the classes 0, 1, 2 and so on.")
    if array.dtype.kind == "u" and array.dtype.itemsize > 1:
        array = array.astype(np.int64)
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
