"""`/healthz`, in front of a model server that answers, fails and hangs."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import httpx2
import pytest

from mtrl.evaluate.serving import health
from mtrl.evaluate.serving.asking import Asking
from mtrl.evaluate.serving.model_server import External, Served
from tests.unit.serving_fixture import png, says, serving
from tests.unit.standin import SILENT, Reply, completion, error, standin


def alive(server: Served) -> bool:
    """As `/healthz` finds it."""

    async def asked() -> bool:
        asking = Asking(server, "m", "sft", own=True)
        try:
            return await health.Health(asking).alive()
        finally:
            await asking.close()

    return asyncio.run(asked())


@pytest.mark.parametrize(
    ("models", "expected"), [(error(404, "no such path"), True), (error(401, "no"), False), (error(500, "x"), False)]
)
def test_an_endpoint_that_answers(models: Reply, expected: bool) -> None:
    with standin(lambda n, asked: completion(), models) as there:
        assert alive(External(there.url, "k")) == expected


def test_an_endpoint_that_is_not_there() -> None:
    assert not alive(External("http://127.0.0.1:9/v1", "k")) and not alive(External("http:///v1", "k"))


def test_many_checks_of_a_server_that_hangs_are_one_and_delay_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "SECONDS", 3.0)

    def check(_: int) -> httpx2.Response:
        return server.client.get("/healthz")

    with serving(lambda n, asked: says("yes"), models=SILENT) as server, ThreadPoolExecutor(40) as pool:
        begun = time.monotonic()
        checks = [pool.submit(check, n) for n in range(40)]  # more than the threads that decode images
        time.sleep(0.3)
        assert server.judge("seetrue", png(), caption="a dog").status_code == 200
        assert not any(one.done() for one in checks)
        found = [one.result() for one in checks]
        assert {one.status_code for one in found} == {503} and time.monotonic() - begun < 6
        assert all("does not answer" in one.text and one.headers["retry-after"] == "7" for one in found)
        assert server.behind.left.acquire(timeout=20) and not server.behind.left.acquire(timeout=0.5)
