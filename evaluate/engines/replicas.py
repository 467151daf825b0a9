"""Replicas: copies of vLLM as Ray actors, on this machine or over the nodes of a Ray cluster, behind one Engine.

The driver, which is the `mtrl eval` that was started, keeps each replica's window of requests full and collects what
has finished, about twice a second. A request is with one replica at a time, and an answer counts once the driver has
it: the requests of a killed replica, or of a node that left, are handed out again, before the others.

Only the driver writes predictions.jsonl. Actors end with their driver. If the driver is killed, answers under way are
lost and asked again.
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
from mtrl.evaluate.engines.offline import WINDOW, VllmEngine, VllmModel
from mtrl.evaluate.engines.request import Request

AHEAD = 64  # requests beyond vLLM's window that a replica has, so that it never waits for the next one
SLICE = 0.5  # seconds of answers per call: a call costs the driver and Ray a few milliseconds
DEATHS = 3  # of one replica without an answer in between: then it is an error


class Replica:
    """One vLLM, in the actor's process."""

    def load(self, needed: list[str], model: VllmModel) -> dict[str, Any]:
        """Loads and describes vLLM. Raises UserError where a `needed` path is missing on this node, else MtrlError."""
        for path in needed:
            self._look(path)
        os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", "nobind")  # on a CPU all would bind to the same cores
        self._engine = VllmEngine(model)
        self._waiting = _Waiting()
        self._flow: Iterator[Answer] | None = None
        return self._engine.describe()

    def exchange(self, requests: list[Request], sampling: Sampling) -> list[Answer]:
        """Takes further requests, and returns what has finished after SLICE seconds."""
        for request in requests:
            for image in request.images:
                self._look(str(image))  # else vLLM rejects the request, which then counts as wrong
        self._waiting.extend(requests)
        self._flow = self._flow or self._engine.answers(self._waiting, sampling)
        done, begun = [], time.monotonic()
        for answer in self._flow:
            done.append(answer)
            if time.monotonic() - begun > SLICE:
                return done
        self._flow = None  # nothing waits and nothing is under way
        return done

    def _look(self, path: str) -> None:
        if not Path(path).exists():
            import ray

            node = ray.util.get_node_ip_address()
            raise UserError(
                f"node {node} of the Ray cluster has no {path}", "put it on a file system that all nodes share"
            )


class _Waiting(deque[Request]):
    """A queue as an iterator, which continues when more has been added."""

    def __iter__(self) -> Iterator[Request]:
        return self

    def __next__(self) -> Request:
        if not self:
            raise StopIteration
        return self.popleft()


@dataclass
class _Slot:
    """A replica as the driver sees it."""

    number: int
    """From 1."""
    actor: Any = None
    call: Any = None
    """The one call under way."""
    loaded: bool = False
    deaths: int = 0
    """Since its last answer."""
    held: dict[Key, Request] = field(default_factory=dict)
    """The requests that it has."""


class Replicas:
    """`count` replicas of the model, on `tensor_parallel` GPUs each, or CPUs where the cluster has no GPU."""

    continues = True

    def __init__(
        self,
        count: int,
        model: VllmModel,
        address: str | None,
        data: Path,
        say: Callable[[str], None],
    ) -> None:
        """Returns once the first replica has loaded. The model's folder and `data` must exist on every node.

        `address` is HOST:PORT of a Ray cluster that this machine belongs to; None starts a Ray on this machine, which
        ends with this process. Raises UserError where no Ray answers or the cluster is too small, and MtrlError, once,
        where the model cannot be loaded.
        """
        self._needed = [str(data.absolute())]
        if Path(model.checkpoint).exists():
            model = replace(model, checkpoint=str(Path(model.checkpoint).absolute()))
            self._needed.append(model.checkpoint)
        self._model = model
        self._say, self._window = say, WINDOW + AHEAD
        self._about: dict[str, Any] = {}
        self._slots = [_Slot(number) for number in range(1, count + 1)]
        ray_cluster.connect(address)
        atexit.register(self.close)
        try:
            self._need = ray_cluster.room(count, model.tensor_parallel)
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
        """Ends the actors, and Ray if it was started here."""
        import ray

        atexit.unregister(self.close)
        ray.shutdown()

    def answers(self, requests: Iterable[Request], sampling: Sampling) -> Iterator[Answer]:
        """One answer for every request, as they come. Raises MtrlError where replicas keep dying."""
        waiting = deque(replace(r, images=tuple(image.absolute() for image in r.images)) for r in requests)
        left = {request.key for request in waiting}
        try:
            while left:
                for slot in self._slots:
                    if slot.loaded and slot.call is None:
                        share = min(self._window, -(-len(left) // len(self._slots)))
                        given = [waiting.popleft() for _ in range(min(share - len(slot.held), len(waiting)))]
                        while waiting and given and waiting[0].item == given[-1].item:  # its votes stay together
                            given.append(waiting.popleft())
                        slot.held.update((request.key, request) for request in given)
                        if slot.held:
                            slot.call = slot.actor.exchange.remote(given, sampling)
                for answer in self._collect(waiting):
                    left.remove(answer.request.key)
                    yield answer
        finally:
            self.close()

    def _collect(self, waiting: deque[Request]) -> list[Answer]:
        """The result of the first call that ends. The requests of a dead replica go back to the front of `waiting`."""
        import ray

        calls = {slot.call: slot for slot in self._slots if slot.call is not None}
        ended, _ = ray.wait(list(calls), timeout=10)
        if not ended:
            if ray_cluster.places(self._need) == 0:
                raise MtrlError("no node is left with room for a replica", CONTINUES)
            return []
        slot = calls[ended[0]]
        slot.call = None
        try:
            brought = ray.get(ended[0])
        except MtrlError as error:  # Ray raises a subclass of it and of its own RayTaskError
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
            ray.kill(slot.actor)  # it may be alive and only not reachable
        reason = ray_cluster.reason(error)
        slot.deaths += 1
        if slot.deaths == DEATHS:
            raise MtrlError(
                f"replica {slot.number} died {DEATHS} times without an answer in between: {reason}",
                f"its log is in {ray_cluster.LOGS} on its node; {CONTINUES}",
            )
        self._say(
            f"replica {slot.number} died ({reason}) and restarts; its {len(slot.held)} requests are handed out again"
        )
        waiting.extendleft(reversed(slot.held.values()))
        slot.held.clear()
        self._start(slot)

    def _start(self, slot: _Slot) -> None:
        import ray

        cpus, gpus = self._need.get("CPU", 0), self._need.get("GPU", 0)
        slot.actor = ray.remote(Replica).options(num_cpus=cpus, num_gpus=gpus, max_restarts=0).remote()
        slot.loaded = False
        slot.call = slot.actor.load.remote(self._needed, self._model)
