"""Writing files that are never half there, and reading files that may be anything."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:  # records are written and read without PyTorch
    from torch import Tensor

CHECKSUM = "sha256"  # of the tensors, among the text of a safetensors file
MAX_TENSORS = 8 << 30  # bytes of a safetensors file


def read_bytes(path: Path, limit: int) -> bytes:
    """The content of a file of at most `limit` bytes. Raises OSError if it cannot be read, is larger, or is no regular
    file (a pipe would be waited for, a device never ends).
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except ValueError:  # a name with a zero byte in it
        raise OSError(errno.ENOENT, "No such file or directory", str(path)) from None
    with open(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "it is not a regular file", str(path))
        content = file.read(min(status.st_size, limit) + 1)
        if len(content) > status.st_size:  # it grows, or says nothing of its size
            content += file.read(limit + 1 - len(content))
    if len(content) > limit:
        raise OSError(errno.EFBIG, f"it is larger than {limit // 1024:,} KiB", str(path))
    return content


def unwritable(error: OSError) -> str:
    """Why something cannot be written, and what to do: "Permission denied: choose another place"."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{error.strerror or error}: {'free some space or ' if full else ''}choose another place"


def write_atomically(
    path: Path, write: Callable[[BinaryIO], object], *, make_directory: bool = True, durable: bool = True
) -> None:
    """Write to a temporary file beside `path`, flush it to the disk, and rename it into place.

    Whatever happens on the way, `path` holds either the old content or the new. Without `durable` the disk is not waited
    for: after a power cut the file may be empty.
    """
    if make_directory:
        path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            write(file)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(temporary, 0o666 & ~umask)  # mkstemp's 0600 would hide results from others
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    if durable:
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Save tensors and text as safetensors, atomically, with a checksum of the tensors."""
    from safetensors.torch import save

    content = save(dict(tensors), {**metadata, CHECKSUM: _checksum(tensors)})
    write_atomically(path, lambda file: file.write(content))


def read_tensors(path: Path, limit: int = MAX_TENSORS) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors and the text of a safetensors file of at most `limit` bytes, whose checksum is right if it has one.
    Raises ValueError if it is damaged, larger or no regular file. Reading such a file executes nothing.
    """
    from safetensors import SafetensorError, safe_open

    status = os.stat(path)
    if not stat.S_ISREG(status.st_mode) or status.st_size > limit:
        raise ValueError(f"it is no file of at most {limit >> 20:,} MiB")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = dict(file.metadata() or {})
    except (SafetensorError, UnicodeDecodeError, OverflowError, RuntimeError) as error:
        raise ValueError(str(error).split("\n")[0]) from None
    if metadata.pop(CHECKSUM, None) not in (None, _checksum(tensors)):
        raise ValueError("its checksum does not match")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes."""
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
