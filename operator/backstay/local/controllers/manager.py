"""Runs the controllers together, on shared reflectors, as one client of an API server."""

import contextlib
from collections.abc import AsyncIterator

from backstay.kube.login import Login
from backstay.local.controllers.job_plan import Backoff
from backstay.local.controllers.jobs import JobController
from backstay.local.controllers.scheduler import Scheduler
from backstay.local.node.api import Api, Reflector
from backstay.local.node.background import beside


@contextlib.asynccontextmanager
async def running_controllers(login: Login, *, backoff: Backoff | None = None) -> AsyncIterator[None]:
    """Run Job controller and scheduler while the body runs. They keep no state of their own: what they know, the API server told them.

    A failure of a controller itself ends the body and is raised; those of single objects are logged and tried again.
    """
    async with Api(login, agent="backstay-controllers") as api:
        pods, jobs, nodes = (Reflector(api, path) for path in ("/api/v1/pods", "/apis/batch/v1/jobs", "/api/v1/nodes"))
        controlling, scheduling = JobController(api, jobs, pods, backoff).run(), Scheduler(api, nodes, pods).run()
        async with beside(controlling, scheduling, pods.run(), jobs.run(), nodes.run()):
            yield
