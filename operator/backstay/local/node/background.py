"""Work that goes on beside a body of code."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any


@contextlib.asynccontextmanager
async def beside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run works that never end by themselves while the body runs, and cancel them after it. One that fails ends the body.

    A single failure, of the body or of a work, is raised as it is; a TaskGroup alone would wrap it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work) for work in works]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
    except BaseExceptionGroup as group_of_faults:
        if len(group_of_faults.exceptions) > 1:
            raise
        raise group_of_faults.exceptions[0] from None
