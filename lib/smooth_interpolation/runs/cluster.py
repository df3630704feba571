"""A Ray cluster: connecting to it, and what a run asks of its nodes. Needs the extra `[cluster]`."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import re
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from ..config import fields
from ..errors import ConfigError

PATIENCE = 60.0  # seconds for a node with room to join
OBJECT_STORE = 100 * 2**20  # bytes; nothing but outcomes goes through it
Node = dict[str, float]  # its resources, by Ray's names


@dataclass(frozen=True)
class Request:
    """What a run asks of a node, beside one core."""

    gpus: float = 0.0  # a share of one
    memory: int = 0  # bytes; 0: whatever there is

    def __post_init__(self) -> None:
        fields.gpus(self.gpus)

    def fits(self, node: Node) -> int:
        """How many such runs a node holds; a run has its share on one GPU."""
        on_gpus = int(node.get("GPU", 0)) * int(1 / self.gpus + 1e-9) if self.gpus else math.inf
        in_memory = node.get("memory", 0) // self.memory if self.memory else math.inf
        return int(min(node.get("CPU", 0), on_gpus, in_memory))

    def more(self, kind: str, nodes: list[Node]) -> Request:
        """What to ask once "memory" or "gpu memory" ran out: twice as much, which leaves fewer neighbours.

        A run that asked for no memory asks for a quarter of the largest node's; none asks for more than that has.
        """
        if kind == "gpu memory":
            return replace(self, gpus=min(1.0, 2 * self.gpus))
        largest = int(max((node.get("memory", 0) for node in nodes), default=0))
        return replace(self, memory=min(largest, 2 * self.memory or largest // 4))

    def __str__(self) -> str:
        gpus = f" and {self.gpus:g} of a GPU" if self.gpus else ""
        return "a core" + gpus + (f" and {self.memory / 1e9:.3g} GB of memory" if self.memory else "")


def require(alone: bool = False) -> Any:
    """The module `ray`, told to report to nobody; if this machine alone is meant, it speaks on the loopback address only."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # the coming default, and no warning of it
    if alone and "ray" not in sys.modules:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # on every system, despite its name
    try:
        import ray
    except ImportError:
        raise ConfigError("--engine ray needs Ray: pip install 'smooth-interpolation[cluster]'.") from None
    return ray


@contextlib.contextmanager
def connected(address: str | None = None) -> Iterator[tuple[Any, bool]]:
    """The module `ray`, connected to a cluster, and whether that is of this machine alone, made and ended here.

    The address is HOST:PORT of its head, or "auto" for the cluster that this machine is of; None: `$RAY_ADDRESS`, or else a new one
    of this machine alone.
    """
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    alone = address == "local"
    ray = require(alone)
    options: dict[str, Any] = {"address": address, "log_to_driver": False, "logging_level": logging.ERROR}
    if alone:
        options |= {"include_dashboard": False, "_node_ip_address": "127.0.0.1", "object_store_memory": OBJECT_STORE}
    elif address != "auto":
        host, _, port = address.rpartition(":")
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except (OSError, ValueError, OverflowError):
            raise ConfigError(f"--address {address}: no cluster answers there; write HOST:PORT of its head.") from None
    try:
        ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise ConfigError(f"--address {address}: {(str(error).splitlines() or ['no cluster'])[0]}") from None
    try:
        yield ray, alone
    finally:
        ray.shutdown()


def nodes(ray: Any) -> list[Node]:
    """The resources of every node that lives."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def wait_for_room(ray: Any, request: Request, patience: float = PATIENCE) -> None:
    """Return once some node could hold a run. Raises ConfigError if none does for `patience` seconds."""
    deadline = time.monotonic() + patience
    while not any(request.fits(node) for node in nodes(ray)):
        if time.monotonic() >= deadline:
            raise ConfigError(f"No node of the cluster has what a run asks for ({request}): ask for less.")
        time.sleep(0.5)


def cause(ray: Any, error: Exception) -> str:
    """Why a task has no answer: "memory" or "worker", or "failed" where another try would not help."""
    exceptions = ray.exceptions
    if isinstance(error, (exceptions.OutOfMemoryError, MemoryError)):  # the former where Ray ended the worker
        return "memory"
    lost = (exceptions.WorkerCrashedError, exceptions.NodeDiedError, exceptions.ObjectLostError)
    return "worker" if isinstance(error, lost) else "failed"


def told(error: Exception) -> str:
    """What went wrong with a task, in words."""
    text = re.sub(r"\x1b\[\d*m", "", str(error))
    if "No module named 'smooth_interpolation" in text:
        return "the nodes do not have this package: install it in the environment that their Ray is started from."
    return text
