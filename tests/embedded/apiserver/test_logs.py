"""pods/log: read from the node that has the pod."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from aiohttp import web

from tests.embedded.apiserver.harness import Api
from tests.embedded.apiserver.paths import PODS

POD = {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}, {"name": "side", "image": "y"}]}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def node(api: Api, handler: Handler) -> AsyncIterator[None]:
    """Serve container logs as a kubelet does, demanding a client certificate of the cluster's authority, and register the node."""
    found = api.server.credentials
    trust = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=found.ca_file)
    trust.load_cert_chain(found.server_cert, found.server_key)
    trust.verify_mode = ssl.CERT_REQUIRED
    application = web.Application()
    application.router.add_get("/containerLogs/{namespace}/{pod}/{container}", handler)
    runner = web.AppRunner(application)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=trust)
    await site.start()
    port = runner.addresses[0][1]
    await api.create("/api/v1/nodes", {"metadata": {"name": "n1"}})
    addresses = [{"type": "InternalIP", "address": "127.0.0.1"}]
    await api.merge("/api/v1/nodes/n1/status", {"status": {"addresses": addresses, "daemonEndpoints": {"kubeletEndpoint": {"Port": port}}}})
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD})
    await api.create(f"{PODS}/pod/binding", {"target": {"kind": "Node", "name": "n1"}})
    try:
        yield
    finally:
        await runner.cleanup()


async def say(request: web.Request) -> web.StreamResponse:
    return web.Response(text=f"{request.match_info['container']} {request.query_string}\n")


async def test_the_log_of_a_container_comes_from_its_node_with_the_options(api: Api) -> None:
    async with node(api, say):
        answer = await api.ask("GET", f"{PODS}/pod/log?container=side&tailLines=10&timestamps=true&nonsense=1", accept="*/*")
    assert (answer.status, answer.body) == (200, "side timestamps=true&tailLines=10\n")


async def test_a_followed_log_arrives_as_it_is_written(api: Api) -> None:
    released = asyncio.Event()

    async def follow(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(b"first\n")
        await released.wait()
        await response.write(b"second\n")
        return response

    async with (
        node(api, follow),
        asyncio.timeout(15),
        api.session.get(f"{api.server.url}{PODS}/pod/log?container=main&follow=true") as response,
    ):
        assert await response.content.readline() == b"first\n"
        released.set()
        assert await response.content.readline() == b"second\n"
        assert await response.content.read() == b""


async def test_what_the_node_refuses_is_passed_on(api: Api) -> None:
    async def refuse(_: web.Request) -> web.StreamResponse:
        return web.Response(status=400, text='container "main" in pod "pod" is waiting to start: ContainerCreating')

    async with node(api, refuse):
        answer = await api.refused(400, "GET", f"{PODS}/pod/log?container=main")
        assert answer.message == 'container "main" in pod "pod" is waiting to start: ContainerCreating'


async def test_a_pod_of_several_containers_needs_one_named(api: Api) -> None:
    async with node(api, say):
        answer = await api.refused(400, "GET", f"{PODS}/pod/log")
        assert answer.message == "a container name must be specified for pod pod, choose one of: [main side]"


async def test_a_pod_without_a_node_has_an_empty_log(api: Api) -> None:
    await api.create(PODS, {"metadata": {"name": "pod"}, "spec": POD})
    assert (await api.ask("GET", f"{PODS}/pod/log?container=main", accept="*/*")).body == ""


async def test_a_node_that_is_gone_is_told(api: Api) -> None:
    async with node(api, say):
        pass
    answer = await api.refused(500, "GET", f"{PODS}/pod/log?container=main")
    assert "containerLogs/default/pod/main" in answer.message


async def test_kubectl_reads_and_follows_logs(api: Api) -> None:
    async with node(api, say):
        assert await api.kubectl("logs", "pod", "-c", "side", "--tail", "3") == "side tailLines=3\n"
        assert await api.kubectl("logs", "-f", "pod", "-c", "main") == "main follow=true\n"
