"""Serves over HTTP what others look at: `/metrics` for Prometheus, `/healthz` and `/readyz` for Kubernetes."""

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Self

from aiohttp import web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from backstay.observe.health import Health


class _Server(ABC):
    """An async context manager that serves at `host`:`port`; port 0 takes any that is free, which `port` then tells."""

    def __init__(self, host: str, port: int) -> None:
        self._host = host
        self.port = port
        self._runner: web.AppRunner | None = None

    async def __aenter__(self) -> Self:
        """Begin to listen. Raises OSError where the port is taken."""
        application = web.Application()
        self._add_to(application)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self.port).start()
        except OSError:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._runner is not None:
            await self._runner.cleanup()

    @abstractmethod
    def _add_to(self, application: web.Application) -> None:
        """Say what is served, and where."""


class MetricsServer(_Server):
    """Serves a registry at `/metrics`."""

    def __init__(self, registry: CollectorRegistry, host: str = "0.0.0.0", port: int = 8080) -> None:  # noqa: S104 — a pod is read from outside
        super().__init__(host, port)
        self._registry = registry

    def _add_to(self, application: web.Application) -> None:
        application.router.add_get("/metrics", self._metrics)

    async def _metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        return web.Response(body=encode(self._registry), headers={"Content-Type": content_type})


class HealthServer(_Server):
    """Serves `/healthz` and `/readyz`: 200, or 503 and what is wrong. It shares its event loop with all that it tells of: one that is
    blocked answers nothing, which is an answer as well."""

    def __init__(self, health: Health, host: str = "0.0.0.0", port: int = 8080) -> None:  # noqa: S104 — probes come from the node
        super().__init__(host, port)
        self._health = health

    def _add_to(self, application: web.Application) -> None:
        application.router.add_get("/healthz", self._healthz)
        application.router.add_get("/readyz", self._readyz)

    async def _healthz(self, _: web.Request) -> web.Response:
        return _answer(*self._health.is_alive())

    async def _readyz(self, _: web.Request) -> web.Response:
        return _answer(*self._health.is_ready())


def _answer(is_well: bool, text: str) -> web.Response:
    return web.Response(text=text, status=200 if is_well else 503)
