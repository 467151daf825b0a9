"""What the server counts, for Prometheus; and the limit of requests at once, with what every reply has in common.

Every label has a bounded number of values: paths and tasks that the server does not have are "other".
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mtrl.config.kinds import INVALID, UNDECIDED
from mtrl.evaluate.serving.cache import Cache
from mtrl.evaluate.serving.model_server import Served
from mtrl.evaluate.serving.problem import Problem
from mtrl.evaluate.verdict import Verdict

AT_ONCE = 256  # requests; ours: their images are in memory
SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)  # edges of the latency's buckets
TYPE = "text/plain; version=0.0.4; charset=utf-8"
HEADERS = [
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
]


class Counts:
    """One server's."""

    def __init__(self, cache: Cache, server: Served, tasks: Mapping[str, Sequence[str]]) -> None:
        """`tasks`: the verdicts of each task that is served; their numbers begin at 0, so that a rate sees the first
        one."""
        self.registry = found = CollectorRegistry()
        self.requests = Counter("mtrl_requests", "Requests by path and status.", ["path", "status"], registry=found)
        self.seconds = Histogram(
            "mtrl_request_seconds", "Seconds to the reply.", ["path"], buckets=SECONDS, registry=found
        )
        self.verdicts = Counter("mtrl_verdicts", "Verdicts by task and verdict.", ["task", "verdict"], registry=found)
        self.invalid = Counter("mtrl_invalid", "Answers that could not be read.", ["task"], registry=found)
        self.undecided = Counter("mtrl_undecided", "Verdicts below the threshold.", ["task"], registry=found)
        self.under_way = Gauge("mtrl_requests_under_way", "Requests that have no reply yet.", registry=found)
        for task, choices in tasks.items():
            for choice in choices:
                self.verdicts.labels(task, choice)
            self.invalid.labels(task)
            self.undecided.labels(task)
        self.registry.register(_Read(cache, server))

    def count(self, verdict: Verdict) -> None:
        self.verdicts.labels(verdict.task, verdict.verdict).inc()
        if verdict.as_said.verdict == INVALID:
            self.invalid.labels(verdict.task).inc()
        if verdict.verdict == UNDECIDED:
            self.undecided.labels(verdict.task).inc()

    def page(self) -> bytes:
        return generate_latest(self.registry)


class _Read(Collector):
    """What others count."""

    def __init__(self, cache: Cache, server: Served) -> None:
        self._cache, self._server = cache, server

    def collect(self) -> Iterator[Metric]:
        cache, server = self._cache, self._server
        rate = cache.hits / max(1, cache.hits + cache.misses)
        yield CounterMetricFamily("mtrl_cache_hits", "Verdicts that were in the cache.", cache.hits)
        yield CounterMetricFamily("mtrl_cache_misses", "Verdicts that were not.", cache.misses)
        yield GaugeMetricFamily("mtrl_cache_hit_rate", "Hits of all that were looked up.", rate)
        yield GaugeMetricFamily("mtrl_cache_bytes", "Size of the verdicts that are kept.", cache.bytes)
        yield GaugeMetricFamily("mtrl_cache_off", "1 where nothing is kept, as after a full disk.", bool(cache.off))
        yield CounterMetricFamily("mtrl_model_server_restarts", "Times that it died.", server.restarts)
        yield GaugeMetricFamily("mtrl_model_server_up", "1 while it is not known to be down.", not server.problem())


class Counting:
    """ASGI middleware around the app: counts requests, and answers 503 to those over AT_ONCE before their body is read.
    The check of health is neither counted nor limited."""

    def __init__(self, app: ASGIApp, counts: Counts, paths: frozenset[str]) -> None:
        self._app, self._counts, self._paths, self._now = app, counts, paths, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == "/healthz":
            await self._app(scope, receive, send)
            return
        path = scope["path"] if scope["path"] in self._paths else "other"
        status, begun = 500, time.monotonic()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", []), *HEADERS]
            await send(message)

        self._now += 1
        self._counts.under_way.set(self._now)
        try:
            if self._now > AT_ONCE:
                text = f"{AT_ONCE} requests are under way, and more are not taken"
                busy = Problem(503, "busy", text, {"Retry-After": "1", "Connection": "close"})
                await busy.response(scope, receive, sent)
            else:
                await self._app(scope, receive, sent)
        finally:
            self._now -= 1
            self._counts.under_way.set(self._now)
            self._counts.requests.labels(path, str(status)).inc()
            self._counts.seconds.labels(path).observe(time.monotonic() - begun)
