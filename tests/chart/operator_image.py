"""What stands for the operator's image on a node that has none: `backstay`, which finds its pod's service account below $BACKSTAY_ROOT.

`python operator_image.py SERVER ARGUMENT…`: such a node cannot mount anything at /var/run, and has no service network.
"""

import json
import os
import sys
from pathlib import Path

_ACCOUNT = "var/run/secrets/kubernetes.io/serviceaccount"


def kubeconfig(server: str, account: Path) -> dict[str, object]:
    """Return a kubeconfig that logs in as the pod."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "own", "cluster": {"server": server, "certificate-authority": str(account / "ca.crt")}}],
        "users": [{"name": "own", "user": {"tokenFile": str(account / "token")}}],
        "contexts": [{"name": "own", "context": {"cluster": "own", "user": "own", "namespace": (account / "namespace").read_text()}}],
        "current-context": "own",
    }


def main(server: str, arguments: list[str]) -> None:
    """Become `backstay ARGUMENT…`."""
    root = Path(os.environ["BACKSTAY_ROOT"])
    account = root / _ACCOUNT
    if account.exists():
        file = root / "kubeconfig"
        file.write_text(json.dumps(kubeconfig(server, account)))
        os.environ["KUBECONFIG"] = str(file)
    os.execv(sys.executable, [sys.executable, "-m", "backstay.cli.main", *arguments])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
