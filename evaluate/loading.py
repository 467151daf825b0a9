"""The engine that answers for a judge, chosen by where the judge runs. It is loaded once there is something to ask."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mtrl.core.console import bar, say
from mtrl.core.errors import UserError
from mtrl.core.redirect import stderr_to
from mtrl.evaluate.engines.base import Engine
from mtrl.evaluate.engines.offline import VllmEngine, VllmModel
from mtrl.evaluate.engines.replicas import Replicas
from mtrl.evaluate.subject import Subject


@dataclass(frozen=True)
class Loader:
    """Called with a judge and the most images that a request has, it gives the engine. Raises UserError, MtrlError."""

    endpoint: str | None = None
    """The address of an OpenAI-compatible server; None: vLLM in this process or in replicas."""
    tensor_parallel: int = 1
    """GPUs per copy of the model."""
    replicas: int | None = None
    """Copies of the model on Ray; None: one, without Ray."""
    ray_address: str | None = None
    """HOST:PORT of a Ray cluster; None: this machine."""
    data: Path = Path("data")
    """The folder of converted tasks, which every node of the cluster must have."""
    log: Path | None = None
    """Where vLLM's own output goes while it loads; None: nowhere."""

    def __post_init__(self) -> None:
        if self.ray_address and not self.replicas:
            raise UserError(
                "--ray-address has no effect without --replicas",
                "pass --replicas N, the number of copies of the model on the cluster",
            )
        if self.endpoint and (self.replicas or self.tensor_parallel > 1):
            raise UserError(
                "--replicas and --tensor-parallel have no effect with --endpoint",
                "leave them out: the server of the endpoint has such options of its own",
            )

    def __call__(self, judge: Subject, images: int) -> Engine:
        if self.endpoint:
            from mtrl.evaluate.engines.endpoint import EndpointEngine  # openai takes a second to import

            say(f"asking {judge.checkpoint} at {self.endpoint}")
            image = judge.image.model_dump()
            return EndpointEngine(self.endpoint, judge.checkpoint, judge.style, image, judge.side, say)
        with bar(f"checking {judge.checkpoint} (MB)") as update:
            judge.check(update)
        say("loading vLLM")
        model = VllmModel(
            judge.checkpoint,
            judge.image.min_pixels,
            judge.image.max_pixels,
            images,
            judge.max_new_tokens,
            self.tensor_parallel,
        )
        if self.replicas:
            return Replicas(self.replicas, model, self.ray_address, self.data, say)
        with stderr_to(self.log):
            engine = VllmEngine(model)
        if engine.note:
            say(engine.note)
        return engine
