"""The Ray cluster that replicas run on: joined by address or started here, and checked for room before loading."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from mtrl.core import ray_address
from mtrl.core.errors import MtrlError, UserError

LOGS = "/tmp/ray/session_latest/logs"  # Ray's own choice, on every node
PATIENCE = 30  # seconds to wait for resources that an earlier job, just killed, may still have
OBJECTS = 128 * 2**20  # bytes of shared memory of a Ray that we start: requests and answers are small


def connect(address: str | None) -> None:
    """Joins the cluster at `address` (HOST:PORT), or for None starts a Ray on this machine that ends with this process.

    Raises UserError within seconds where no Ray answers.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise MtrlError(f"Ray cannot be imported here: {error}", "make setup") from None
    ours: dict[str, Any] = {}
    if address is None:
        ours = {"include_dashboard": False, "object_store_memory": OBJECTS}
    else:
        _knock(address)
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(address=address or "local", log_to_driver=False, logging_level="ERROR", **ours)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise UserError(
            f"Ray {f'at {address}' if address else 'on this machine'} cannot be used: {reason(error)}",
            "run mtrl eval on a node of the cluster (ray status shows them)" if address else f"its logs are in {LOGS}",
        ) from None
    finally:
        signal.signal(signal.SIGTERM, before)  # ray.init changes it, and we would exit with another status


def _knock(address: str) -> None:
    """Raises UserError where no Ray answers at HOST:PORT: ray.init would try for 80 seconds, then exit."""
    host, _, port = address.rpartition(":")
    start = "ray start --head --port=6379 on one node, ray start --address=HEAD:6379 on the others"
    if not host or not port.isdecimal() or "/" in host:
        raise UserError(f"--ray-address {address!r} is not HOST:PORT", f"--ray-address HEAD:6379, after {start}")
    if wrong := ray_address.problem(host, int(port)):
        raise UserError(f"no Ray answers at {address}: {wrong}", start)


def room(count: int, tensor_parallel: int) -> dict[str, int]:
    """What one replica needs of a node: `tensor_parallel` GPUs, or CPUs where the cluster has no GPU.

    Raises UserError, with what each node has, where `count` replicas do not fit, or nothing is free.
    """
    import ray

    kind = "GPU" if ray.cluster_resources().get("GPU") else "CPU"
    need = {kind: tensor_parallel} if kind == "CPU" else {kind: tensor_parallel, "CPU": 1}
    if (fit := places(need)) < count:
        has = (f"{node['NodeManagerAddress']}: {node['Resources'].get(kind, 0):.0f}" for node in _alive())
        raise UserError(
            f"there is room for {fit} replicas of {tensor_parallel} {kind}; {count} were asked for "
            f"({kind}s of each node: {', '.join(has)})",
            f"pass --replicas {fit}"
            if fit
            else "pass a --tensor-parallel that fits in one node, or use another cluster",
        )
    deadline = time.monotonic() + PATIENCE
    while ray.available_resources().get(kind, 0) < tensor_parallel:
        if time.monotonic() > deadline:
            raise UserError(f"every {kind} of the Ray cluster is in use", "wait for its jobs (ray status shows them)")
        time.sleep(0.5)
    return need


def places(need: dict[str, int]) -> int:
    """How many replicas the connected nodes have room for, if nothing else runs."""
    alive = [node["Resources"] for node in _alive()]
    return int(sum(min(has.get(kind, 0) // wanted for kind, wanted in need.items()) for has in alive))


def _alive() -> list[dict[str, Any]]:
    import ray

    return [node for node in ray.nodes() if node["Alive"]]


def reason(error: Exception) -> str:
    """The line of a Ray error that names the cause; the whole is paragraphs."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    telling = [line for line in lines if line.startswith("The actor is dead because") or "Error" in line]
    return (telling or lines or [type(error).__name__])[-1].split(" Some common causes")[0][:300]
