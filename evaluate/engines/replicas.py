"""Replicas: copies of vLLM as Ray actors, on this machine or over the nodes of a Ray cluster, behind one Engine.

The driver, which is the `mtrl eval` that was started, keeps each replica's window of requests full and takes back what
has finished, about twice a second. A request is handed to one replica at a time, and an answer counts once the driver
has it: what a killed replica, or a node that left, still held is handed out again, in front of the rest.

The driver alone writes predictions.jsonl: one process, one file. Replicas need no disk to write to, and no part files
are merged, so nothing can be torn but the file's last line, which Recording removes. Actors die with their
driver. Of a driver that was killed, the answers under way are lost and asked again; those written are never asked again.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mtrl.config.samples import Key
from mtrl.core.errors import MtrlError, UserError
from mtrl.evaluate.engines import ray_cluster
from mtrl.evaluate.engines.base import CONTINUES, Answer, Sampling
from mtrl.evaluate.engines.offline import WINDOW, VllmEngine
from mtrl.evaluate.engines.request import Request

AHEAD = 64  # requests beyond vLLM's own window that a replica holds, so that a finished one's place is filled at once
SLICE = 0.5  # seconds of answers that travel together: a turn costs the driver and Ray a few milliseconds
DEATHS = 3  # of one replica without an answer in between; then it is no accident


class Replica:
    """One vLLM, in the actor's process. `turn` takes requests in and gives back what has finished meanwhile."""

    def load(self, needed: list[str], **engine: Any) -> dict[str, Any]:
        """Loads vLLM and describes it. Raises UserError where a path is missing on this node, MtrlError as vLLM does."""
        for path in needed:
            self._look(path)
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # on a CPU all would bind to the same cores
        self._engine = VllmEngine(**engine)
        self._waiting = _Waiting()
        self._flow: Iterator[Answer] | None = None
        return self._engine.describe()

    def turn(self, requests: list[Request], sampling: Sampling) -> list[Answer]:
        for request in requests:
            for image in request.images:
                self._look(str(image))  # the engine would call it a rejected request, and score it as wrong
        self._waiting.extend(requests)
        self._flow = self._flow or self._engine.answers(self._waiting, sampling)
        done, begun = [], time.monotonic()
        for answer in self._flow:
            done.append(answer)
            if time.monotonic() - begun > SLICE:
                return done
        self._flow = None  # ended: nothing waits, nothing is under way
        return done

    def _look(self, path: str) -> None:
        if not Path(path).exists():
            import ray

            node = ray.util.get_node_ip_address()
            raise UserError(f"node {node} of the Ray cluster has no {path}", "put it on a path that all nodes share")


class _Waiting(deque[Request]):
    """A queue as an iterator that goes on when more has come."""

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        if not self:
            raise StopIteration
        return self.popleft()


@dataclass
class _Slot:
    """The driver's side of a replica: its actor, the one call under way, and the requests that it holds."""

    number: int
    actor: Any = None
    call: Any = None
    loaded: bool = False
    deaths: int = 0
    held: dict[Key, Request] = field(default_factory=dict)


class Replicas:
    """An Engine of `count` replicas of `tensor_parallel` GPUs each, or CPUs where the cluster has no GPU.

    `address` is HOST:PORT of a Ray cluster that this machine belongs to; None starts a Ray on this machine that ends
    with us. `data` must be there on every node. `engine` goes to VllmEngine. Returns once the first replica has loaded.
    Raises UserError where no Ray answers or the cluster is too small, and MtrlError, once, where the model cannot load.
    """

    def __init__(
        self,
        count: int,
        tensor_parallel: int,
        address: str | None,
        data: Path,
        say: Callable[[str], None],
        **engine: Any,
    ) -> None:
        checkpoint = Path(engine["checkpoint"])
        if checkpoint.exists():
            engine["checkpoint"] = str(checkpoint.absolute())
        self._needed = [str(data.absolute()), *([engine["checkpoint"]] if checkpoint.exists() else [])]
        self._engine = {**engine, "tensor_parallel": tensor_parallel}
        self._say, self._window = say, WINDOW + AHEAD
        self._about: dict[str, Any] = {}
        self._slots = [_Slot(number) for number in range(1, count + 1)]
        ray_cluster.connect(address)
        atexit.register(self.close)
        try:
            self._need = ray_cluster.room(count, tensor_parallel)
            for slot in self._slots:
                self._start(slot)
            while not self._about:
                self._collect(deque())
        except BaseException:
            self.close()
            raise

    def describe(self) -> dict[str, Any]:
        return {**self._about, "replicas": len(self._slots)}

    def close(self) -> None:
        """Ends the actors and, where it is ours, Ray."""
        import ray

        atexit.unregister(self.close)
        ray.shutdown()

    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        """Yields one answer for every request, as they come. Raises MtrlError where replicas keep dying."""
        waiting = deque(replace(r, images=tuple(image.absolute() for image in r.images)) for r in requests)
        left = {request.key for request in waiting}
        try:
            while left:
                for slot in self._slots:
                    if slot.loaded and slot.call is None:
                        share = min(self._window, -(-len(left) // len(self._slots)))
                        given = [waiting.popleft() for _ in range(min(share - len(slot.held), len(waiting)))]
                        slot.held.update((request.key, request) for request in given)
                        if slot.held:
                            slot.call = slot.actor.turn.remote(given, sampling)
                for answer in self._collect(waiting):
                    left.remove(answer.request.key)
                    yield answer
        finally:
            self.close()

    def _collect(self, waiting: deque[Request]) -> list[Answer]:
        """What the first call to end brings; of a dead replica, its requests go back to the front of `waiting`."""
        import ray

        calls = {slot.call: slot for slot in self._slots if slot.call is not None}
        ended, _ = ray.wait(list(calls), timeout=10)
        if not ended:
            if ray_cluster.places(self._need) == 0:
                raise MtrlError("no node is left that can hold a replica", CONTINUES)
            return []
        slot = calls[ended[0]]
        slot.call = None
        try:
            brought = ray.get(ended[0])
        except MtrlError as error:  # Ray raises a child of it and of its own RayTaskError
            cause = getattr(error, "cause", error)
            raise type(cause)(str(cause), cause.then) from None
        except ray.exceptions.RayError as error:
            self._died(slot, error, waiting)
            return []
        if not slot.loaded:
            slot.loaded, self._about = True, brought
            return []
        for answer in brought:
            del slot.held[answer.request.key]
        slot.deaths = 0 if brought else slot.deaths
        return list(brought)

    def _died(self, slot: _Slot, error: Exception, waiting: deque[Request]) -> None:
        import ray

        with contextlib.suppress(Exception):
            ray.kill(slot.actor)  # it may live and only be out of reach
        reason = ray_cluster.reason(error)
        slot.deaths += 1
        if slot.deaths == DEATHS:
            raise MtrlError(
                f"replica {slot.number} died {DEATHS} times without an answer in between: {reason}",
                f"its log is in {ray_cluster.LOGS} on its node; {CONTINUES}",
            )
        self._say(
            f"replica {slot.number} died ({reason}); it starts again, {len(slot.held)} requests are handed out again"
        )
        waiting.extendleft(reversed(slot.held.values()))
        slot.held.clear()
        self._start(slot)

    def _start(self, slot: _Slot) -> None:
        import ray

        cpus, gpus = self._need.get("CPU", 0), self._need.get("GPU", 0)
        slot.actor = ray.remote(Replica).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0).remote()
        slot.loaded = False
        slot.call = slot.actor.load.remote(self._needed, **self._engine)
