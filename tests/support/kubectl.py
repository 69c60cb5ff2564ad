"""The real kubectl against some API server, as a user would call it, with a limit on every wait."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.support.tools import kubectl

_CALL_LIMIT_SECONDS = 60
_POLL_SECONDS = 0.1


class Kubectl:
    """kubectl with a kubeconfig, and a namespace where all calls are for the same."""

    def __init__(self, kubeconfig: Path, namespace: str | None = None) -> None:
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def __call__(self, *arguments: str, given: object = None) -> str:
        """Return what kubectl prints; `given` goes as JSON to its standard input. Fails the test when kubectl fails."""
        result = self._run(arguments, given)
        assert result.returncode == 0, f"kubectl {' '.join(arguments)}: {result.stderr}"
        return result.stdout

    def succeeds(self, *arguments: str) -> bool:
        """Tell whether kubectl does what it is asked."""
        return self._run(arguments, None).returncode == 0

    def refused(self, *arguments: str, given: object = None) -> str:
        """Return what kubectl says on standard error when it fails, as it must."""
        result = self._run(arguments, given)
        assert result.returncode != 0, f"kubectl {' '.join(arguments)} should have failed and printed {result.stdout}"
        return result.stderr

    def json(self, *arguments: str, given: object = None) -> Any:
        """Return what kubectl prints with `-o json`, parsed."""
        return json.loads(self(*arguments, "-o", "json", given=given))

    def until(self, *arguments: str, shows: Callable[[str], object], limit_seconds: float = 30) -> str:
        """Ask again until `shows` accepts what kubectl prints, and return that; fails the test after the limit."""
        deadline = time.monotonic() + limit_seconds
        while not shows(output := self(*arguments)):
            assert time.monotonic() < deadline, f"after {limit_seconds} s kubectl {' '.join(arguments)} still shows: {output}"
            time.sleep(_POLL_SECONDS)
        return output

    def _run(self, arguments: tuple[str, ...], given: object) -> subprocess.CompletedProcess[str]:
        where = ["--namespace", self.namespace] if self.namespace else []
        command = [str(kubectl()), "--kubeconfig", str(self.kubeconfig), *where, *arguments]
        text = "" if given is None else json.dumps(given)
        return subprocess.run(command, input=text, capture_output=True, text=True, timeout=_CALL_LIMIT_SECONDS, check=False)
