"""`backstay`, for which time flies: revisions are old when they are made, repeated Events are written soon, a Job has a pod at once or never.

What takes that long in earnest is asked of the API server all the same, and a test sees it.
"""

import os
from datetime import timedelta
from functools import partial

from backstay.cli.main import main
from backstay.executors import job
from backstay.observe import events
from backstay.runtime import revisions, semaphores

if __name__ == "__main__":
    revisions.YOUNGEST = timedelta(0)  # type: ignore[misc]
    events.Limits = partial(events.Limits, pause_seconds=0.5)  # type: ignore[misc, assignment]
    job.NO_POD_AFTER = timedelta(seconds=1)  # type: ignore[misc]
    semaphores.IDLE_SECONDS = 1.0  # type: ignore[misc]
    os.environ["BACKSTAY_DEAD_LETTER_TTL_SECONDS"] = "1"
    main()
