"""Provides for the claims of a cluster whose nodes see this machine's files, until it is ended: a storage class for tests.

python -m tests.cluster.claims_main KUBECONFIG FOLDER
"""

import asyncio
import sys
from pathlib import Path

from backstay.kube.login import find_login
from backstay.local.node.api import Api
from backstay.local.node.claims import Claims


async def _main(kubeconfig: str, folder: Path) -> None:
    async with Api(find_login(kubeconfig), agent="backstay-claims") as api:
        await Claims(api, folder).run()


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], Path(sys.argv[2])))
