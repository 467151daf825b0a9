"""Whether the model server answers, for `/healthz`: it is asked once at a time, however many clients ask, and in no
thread, so that checks neither wait for images that are decoded nor delay them.
"""

from __future__ import annotations

import asyncio

import aiohttp

from mtrl.evaluate.serving.asking import Asking

SECONDS = 5.0  # in which a server that lives says so


class Health:
    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._check: asyncio.Task[bool] | None = None

    async def alive(self) -> bool:
        """What the check that is under way finds, else a new one. Takes up to SECONDS."""
        if not self._check or self._check.done():
            self._check = asyncio.create_task(self._ask())
        return await asyncio.shield(self._check)

    async def _ask(self) -> bool:
        """Any answer counts, but a server's error and a refused key: not every endpoint lists its models."""
        server = self._asking.server
        if server.problem():
            return False
        try:
            async with asyncio.timeout(SECONDS), self._asking.send("GET", server.health) as response:
                return response.status < 500 and response.status not in (401, 403)
        except (TimeoutError, aiohttp.ClientError):
            return False
