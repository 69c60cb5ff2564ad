"""backstay operator: run the operator, in a cluster or beside it."""

import asyncio
import errno
import gc
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from backstay import __version__
from backstay.cli.failures import Exit, Usage
from backstay.cli.options import ContextOption, DebugOption, KubeconfigOption, Place, guard
from backstay.errors import BackstayError
from backstay.settings import Settings

if TYPE_CHECKING:
    import kopf

    from backstay.kube.login import Access, Login
    from backstay.observe.health import Health
    from backstay.observe.metrics import Metrics

log = logging.getLogger(__name__)

GARBAGE_THRESHOLDS: Final = (50_000, 20, 50)
"""So many more objects than were freed until the youngest are looked at; and how often that is, until those are that outlived it, and all."""
STOP_SECONDS: Final = 9.0
"""It stops in about one second. Should anything hang, kopf kills the process after this: all that counts is written already."""


def operator(
    ctx: typer.Context,
    namespace: Annotated[
        list[str] | None,
        typer.Option("--namespace", "-n", metavar="NAMESPACE", help="A namespace to look after (default: all). Repeatable."),
    ] = None,
    log_format: Annotated[str | None, typer.Option("--log-format", metavar="text|json", help="How log lines look (default: text).")] = None,
    log_level: Annotated[
        str | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning or error (default: info).")
    ] = None,
    metrics_port: Annotated[
        int | None,
        typer.Option("--metrics-port", metavar="PORT", min=0, max=65535, help="Where /metrics is served (default: 9090); 0 for nowhere."),
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port", metavar="PORT", min=0, max=65535, help="Where /healthz and /readyz are (default: 8080); 0 for nowhere."
        ),
    ] = None,
    lease: Annotated[
        str | None,
        typer.Option("--lease", metavar="NAMESPACE/NAME", help="The Lease that it works under (default: backstay, in its namespace)."),
    ] = None,
    context: ContextOption = None,
    kubeconfig: KubeconfigOption = None,
    debug: DebugOption = False,
) -> None:
    """Run the operator until it is told to stop.

    It logs in with the kubeconfig, or in a pod with its service account. All that it needs are the custom resources:
    kubectl apply --server-side -f crds/

    Each option can be given as an environment variable instead: BACKSTAY_NAMESPACES (separated by commas), BACKSTAY_LOG_FORMAT,
    BACKSTAY_LOG_LEVEL, BACKSTAY_METRICS_PORT, BACKSTAY_HEALTH_PORT; and besides BACKSTAY_BIND_ADDRESS, BACKSTAY_WORKERS,
    BACKSTAY_SWEEP_SECONDS, BACKSTAY_MISSING_WORKFLOW_SECONDS, BACKSTAY_API_QPS, BACKSTAY_API_BURST; for several
    processes that stand by for each other or share the runs (docs/high-availability.md), BACKSTAY_SHARDS, BACKSTAY_LEASE_NAMESPACE,
    BACKSTAY_LEASE_NAME, BACKSTAY_LEASE_SECONDS and BACKSTAY_IDENTITY; for limits (docs/limits.md),
    BACKSTAY_MAX_ACTIVE_RUNS and BACKSTAY_MAX_ACTIVE_RUNS_PER_NAMESPACE; for http steps, BACKSTAY_HTTP_ALLOWED_HOSTS,
    BACKSTAY_HTTP_INTERNAL_RANGES and BACKSTAY_HTTP_CA_FILE (docs/http.md).

    \b
    Exit codes:
      0  it was told to stop (SIGTERM, SIGINT) and has stopped
      1  it lost the cluster, or found a fault in itself; start it again, it goes on from what is written
      2  an option or a variable is wrong
      5  it cannot begin: no cluster, no custom resources, or not enough rights

    \b
    Examples:
      backstay operator
      backstay operator -n shop -n billing --log-format json
      backstay operator --metrics-port 0 --health-port 0
    """
    before = ctx.obj if isinstance(ctx.obj, Place) else Place()
    place = Place(None, context, kubeconfig, debug).over(before)
    if not namespace and before.namespace:
        namespace = [before.namespace]

    def work() -> Exit:
        given: dict[str, Any] = {
            "log_format": log_format,
            "log_level": log_level,
            "metrics_port": metrics_port,
            "health_port": health_port,
            **_lease(lease),
        }
        return _operate(place, _settings(namespaces=tuple(dict.fromkeys(namespace)) if namespace else None, **given))

    guard(work, debug=place.debug)


def _lease(given: str | None) -> dict[str, str]:
    if given is None:
        return {}
    namespace, slash, name = given.partition("/")
    if not (namespace and slash and name):
        raise Usage(f'--lease "{given}" is no place of a Lease', "write it as NAMESPACE/NAME")
    return {"lease_namespace": namespace, "lease_name": name}


def _settings(**given: Any) -> Settings:
    try:
        return Settings.from_environment(**given)
    except ValueError as error:
        raise Usage(str(error)) from None


def _operate(place: Place, settings: Settings) -> Exit:
    from backstay.kube.login import find_login
    from backstay.observe import logs

    if settings.log_format not in ("text", "json"):
        raise Usage(f'log format "{settings.log_format}" is unknown', "write text or json")
    try:
        logs.configure(settings.log_level, "json" if settings.log_format == "json" else "text")
    except ValueError as error:
        raise Usage(str(error)) from None
    login = find_login(place.kubeconfig, place.context)
    return _run_loop(settings, login)


def _run_loop(settings: Settings, login: "Login") -> Exit:
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(settings, login))
    except BackstayError:
        raise
    except Exception:
        log.exception("the operator has come to an end; start it again, and it goes on from what is written")
        return Exit.FAILED


def _loop_factory() -> "Callable[[], asyncio.AbstractEventLoop] | None":
    """The faster loop where there is one; there is none for Windows."""
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.new_event_loop


async def _serve(settings: Settings, login: "Login") -> Exit:
    from backstay.cli.preflight import POD_PATIENCE_SECONDS, check, when_it_serves
    from backstay.cli.views.text import listed
    from backstay.handlers.app import registry_for
    from backstay.kube.client import Client
    from backstay.kube.login import in_cluster
    from backstay.observe.health import Health
    from backstay.observe.metrics import Metrics

    access = await asyncio.to_thread(login)
    leases_in = settings.lease_place[0] if settings.shards else ""
    async with Client(access, login) as probe:
        await when_it_serves(lambda: check(probe, settings.namespaces, leases_in), POD_PATIENCE_SECONDS if login is in_cluster else 0)
    metrics, health = Metrics(), Health()
    registry = registry_for(Client(access, login), login, settings, metrics, health)
    log.info("backstay %s looks after %s of %s", __version__, listed(settings.namespaces) or "all namespaces", access.server)
    _spare_the_garbage_collector()
    try:
        async with _metrics_server(settings, metrics), _health_server(settings, health):
            try:
                await _run_kopf(registry, settings)
            except Exception:
                await _say_what_went(access, login, settings)
                raise
    except OSError as error:
        if error.errno not in (errno.EADDRINUSE, errno.EADDRNOTAVAIL, errno.EACCES):
            raise
        mend = "choose other ports with --metrics-port and --health-port, or 0 for none"
        raise Usage(f"a port cannot be listened on: {error.strerror or error}", mend) from error
    return Exit.OK


def _spare_the_garbage_collector() -> None:
    """Look for cycles seldom, and never among what the program itself consists of.

    Every object of the API is a hundred dictionaries and lists, none of them in a cycle: with Python's defaults the collector took 7 % of the
    operator's time, and more the more runs there are, for it looks at all that is kept (docs/decisions/0028).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)


@asynccontextmanager
async def _metrics_server(settings: Settings, metrics: "Metrics") -> AsyncIterator[None]:
    if not settings.metrics_port:
        yield
        return
    from backstay.observe import loop
    from backstay.observe.server import MetricsServer

    async with MetricsServer(metrics.registry, settings.bind_address, settings.metrics_port):
        measuring = asyncio.create_task(loop.watch(metrics.loop_late), name="backstay event loop")
        try:
            yield
        finally:
            measuring.cancel()
            await asyncio.gather(measuring, return_exceptions=True)


@asynccontextmanager
async def _health_server(settings: Settings, health: "Health") -> AsyncIterator[None]:
    if not settings.health_port:
        yield
        return
    from backstay.observe.server import HealthServer

    async with HealthServer(health, settings.bind_address, settings.health_port):
        yield


async def _say_what_went(access: "Access", login: "Login", settings: Settings) -> None:
    """The operator has ended by a fault. Raise CommandFailed where that is something which must be there, and has gone meanwhile."""
    from backstay.cli.preflight import check
    from backstay.errors import ApiError
    from backstay.kube.client import Client

    with suppress(ApiError):
        async with Client(access, login) as probe:
            await check(probe, settings.namespaces)


async def _run_kopf(registry: "kopf.OperatorRegistry", settings: Settings) -> None:
    import kopf

    own = kopf.OperatorSettings()
    own.process.ultimate_exiting_timeout = STOP_SECONDS
    await kopf.operator(
        registry=registry,
        settings=own,
        standalone=True,
        clusterwide=not settings.namespaces,
        namespaces=settings.namespaces,
    )
