"""What `mtrl serve` costs over vLLM's own server, and how long a cached verdict takes.

    OMP_NUM_THREADS=1 python tests/benchmarks/bench_serve.py [REQUESTS [ROUNDS]]

The tiny model, on a CPU or a GPU. The same questions go to vLLM's own server and to the app in front of it, 32 at once,
in turn; each question is new. Prints the ratio of each round's times and their median, and the processor time of the
app next to that of vLLM's server, which other programs on the machine change less.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx2
import psutil
from PIL import Image

from mtrl.config.samples import Sample
from mtrl.demo.walkthrough import tiny
from mtrl.evaluate import judges
from mtrl.evaluate.engines import chat, image_url
from mtrl.evaluate.engines.base import Sampling
from mtrl.evaluate.engines.offline import VllmModel
from mtrl.evaluate.engines.request import Request
from mtrl.evaluate.serving import answering, app, running
from mtrl.evaluate.serving.asking import Asking
from mtrl.evaluate.serving.cache import Cache
from mtrl.evaluate.serving.model_server import ModelServer

TASK, AT_ONCE, FRONT = "seetrue", 32, "front"
COLOURS = ("red", "green", "blue", "white", "black", "orange", "purple", "yellow")


def png(colour: str) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (64, 64), colour).save(buffer, "PNG")
    return buffer.getvalue()


async def load(url: str, bodies: list[bytes], server: ModelServer) -> float:
    """Seconds until all are answered."""
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {server.key}"}
    limit = asyncio.Semaphore(AT_ONCE)
    path, limits = server.socket if url.startswith(server.address) else None, httpx2.Limits(max_connections=64)
    transport = httpx2.AsyncHTTPTransport(uds=path, limits=limits)
    async with httpx2.AsyncClient(timeout=600, transport=transport) as client:

        async def one(body: bytes) -> None:
            async with limit:
                reply = await client.post(url, content=body, headers=headers)
                assert reply.status_code == 200, reply.text

        begun = time.perf_counter()
        await asyncio.gather(*map(one, bodies))
        return time.perf_counter() - begun


def processor(process: int) -> float:
    """Seconds of processor time so far, of a process and all below it."""
    root = psutil.Process(process)
    times = [one.cpu_times() for one in (root, *root.children(recursive=True))]
    return sum(one.user + one.system for one in times)


class Running:
    """A Served that another process has started."""

    address, health, restarts = "http://localhost/v1", "http://localhost/health", 0

    def __init__(self, socket: str, key: str) -> None:
        self.socket: str | None = socket
        self.key = key

    def problem(self) -> str:
        return ""

    def wait(self) -> int:
        return 1


def front(path: str, key: str) -> None:
    """The app of `mtrl serve`, in front of the server at the socket `path`. Prints its address."""
    judge = judges.subject(str(tiny()))
    asking = Asking(Running(path, key), judge.name, judge.style, own=True)
    cache = Cache(None, 256 << 20, print)
    made = answering.Answering(judge, answering.loaded(judge, [TASK]), asking, cache, "vLLM", {})
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        running.serve(app.application(made, None), listening, lambda: print(address, flush=True))


def main(requests: int = 96, rounds: int = 5) -> None:
    judge = judges.subject(str(tiny()))
    asked = answering.loaded(judge, [TASK])[TASK]
    images = [png(colour) for colour in COLOURS]
    urls = [image_url.url(image, judge.image.model_dump(), judge.side) for image in images]
    number = 0

    def captions() -> list[str]:
        nonlocal number
        number += requests
        return [f"a square, number {n}" for n in range(number - requests, number)]

    def to_vllm() -> list[bytes]:
        bodies = []
        for n, caption in enumerate(captions()):
            prompt = asked.render(Sample("", TASK, asked.task.kind, ("1",), {"caption": caption}, "yes", ""))
            request = Request("", TASK, "given", 0, prompt, (Path("1"),), "", asked.task.choices)
            options = chat.options(request, Sampling(judge.max_new_tokens, confidence=True), vllm=True)
            body = {"model": judge.name, "messages": chat.messages(prompt, [urls[n % len(urls)]]), **options}
            bodies.append(json.dumps(body).encode())
        return bodies

    def to_app(given: list[str]) -> list[bytes]:
        told = [base64.b64encode(image).decode() for image in images]
        return [
            json.dumps({"task": TASK, "images": [told[n % len(told)]], "fields": {"caption": caption}}).encode()
            for n, caption in enumerate(given)
        ]

    ranged = judge.image
    model = VllmModel(judge.checkpoint, ranged.min_pixels, ranged.max_pixels, 1, judge.max_new_tokens)
    with tempfile.TemporaryDirectory() as folder:
        server = ModelServer(model, judge.name, Path(folder) / "vllm.log", judge.check, print)
        behind = None
        try:
            server.start()
            behind = subprocess.Popen(
                [sys.executable, __file__, FRONT, str(server.socket), server.key], stdout=subprocess.PIPE, text=True
            )
            assert behind.stdout
            address = behind.stdout.readline().strip()
            vllm, ours = f"{server.address}/chat/completions", f"{address}/v1/judge"
            for url, bodies in ((vllm, to_vllm()), (ours, to_app(captions()))):  # both warm
                asyncio.run(load(url, bodies[:AT_ONCE], server))
            ratios, spent = [], {url: [0.0, 0.0] for url in (vllm, ours)}
            assert server.pid
            for turn in range(rounds):
                both = {vllm: to_vllm(), ours: to_app(captions())}
                order = list(both) if turn % 2 else list(both)[::-1]
                took = {}
                for url in order:
                    before = processor(server.pid), processor(behind.pid)
                    took[url] = asyncio.run(load(url, both[url], server))
                    after = processor(server.pid), processor(behind.pid)
                    spent[url] = [sum(of) for of in zip(spent[url], after, (-b for b in before), strict=True)]
                ratios.append(took[ours] / took[vllm])
                print(f"vLLM {requests / took[vllm]:.1f}/s, mtrl serve {requests / took[ours]:.1f}/s: {ratios[-1]:.3f}")
            print(f"median of {rounds} ratios of time: {statistics.median(ratios):.3f}")
            each = {url: [1000 * seconds / rounds / requests for seconds in spent[url]] for url in spent}
            print(f"processor ms per request: vLLM alone {each[vllm][0]:.1f}; behind the app {each[ours][0]:.1f}")
            print(f"and the app {each[ours][1]:.1f}, which is {each[ours][1] / each[vllm][0]:.1%} of vLLM's")
            (body,) = to_app(["kept"])
            with httpx2.Client(trust_env=False) as client:
                times = []
                for _ in range(201):
                    begun = time.perf_counter()
                    client.post(ours, content=body, headers={"Content-Type": "application/json"}).raise_for_status()
                    times.append(1000 * (time.perf_counter() - begun))
            print(f"a cached verdict: median {statistics.median(times[1:]):.2f} ms, least {min(times[1:]):.2f} ms")
        finally:
            if behind:
                behind.terminate()
                behind.wait()
            server.stop()


if __name__ == "__main__":
    front(*sys.argv[2:]) if sys.argv[1:2] == [FRONT] else main(*map(int, sys.argv[1:]))
