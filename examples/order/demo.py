#!/usr/bin/env python3
"""`make demo`: an order that goes well, and one that undoes itself, on a cluster that lives as long as this program.

Each line that begins with $ is what you would type yourself. Nothing is left behind, also after Ctrl-C.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
BACKSTAY = [sys.executable, "-m", "backstay.cli.main"]
READY_LIMIT_SECONDS = 40
STOP_LIMIT_SECONDS = 20
COMMAND_LIMIT_SECONDS = 60

Books = dict[str, list[dict[str, Any]]]


class DemoFailed(Exception):
    """Something did not go as it should; the message says what."""


class Demo:
    """A cluster, a shop, and the commands of somebody who tries them."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._environment = os.environ | {"KUBECONFIG": str(folder / "kubeconfig"), "SHOP_DB": str(folder / "shop.db")}

    def run(self) -> None:
        """Show everything."""
        with self._cluster():
            self._open_the_shop()
            before = self._books()
            self._say("First an order that goes well.")
            self._apply(HERE / "runs" / "good.yaml")
            self._watch("good")
            sold = self._books()
            self._show("the shop before and after", before, sold)
            self._say("Now one that cannot be delivered: its last step fails, and everything before it is undone, in reverse.")
            self._apply(HERE / "runs" / "shipping-fails.yaml")
            self._watch("shipping-fails")
            after = self._books()
            self._show("the shop before and after", sold, after)
            if after != sold:
                raise DemoFailed("the shop is not as it was before the order that failed")
            self._say("Not a mug is missing, and not a cent: the run knew the way back.")

    # --------------------------------------------------------------------------------------------------------- cluster

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """A cluster on this machine with the operator; it ends with the block."""
        log = self._folder / "dev.log"
        options = ["--kubeconfig", self._environment["KUBECONFIG"], "--image-map", str(HERE / "images.yaml")]
        self._type("backstay dev --image-map examples/order/images.yaml &")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [*BACKSTAY, "dev", *options], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
            )
        try:
            self._wait_until_ready(process, log)
            yield
        finally:
            end(process)

    def _wait_until_ready(self, process: subprocess.Popen[bytes], log: Path) -> None:
        deadline = time.monotonic() + READY_LIMIT_SECONDS
        while "export KUBECONFIG=" not in (text := log.read_text(errors="replace")):
            if process.poll() is not None or time.monotonic() > deadline:
                raise DemoFailed(f"the cluster did not start; it says:\n{text}")
            time.sleep(0.05)

    # ------------------------------------------------------------------------------------------------------------ steps

    def _open_the_shop(self) -> None:
        self._say("A shop with full shelves, and the workflow that sells from them.")
        self._type("python examples/order/shop.py init")
        self._shop("init")
        database = self._environment["SHOP_DB"]
        where = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"database": database}}
        (self._folder / "shop.yaml").write_text(json.dumps(where))
        self._apply(self._folder / "shop.yaml", as_typed="kubectl create configmap shop --from-literal=database=$SHOP_DB")
        self._apply(HERE / "workflow.yaml")

    def _apply(self, file: Path, as_typed: str = "") -> None:
        """Apply a manifest with kubectl where there is one, else with a few lines of Python that do the same."""
        self._type(as_typed or f"kubectl apply -f {file.relative_to(HERE.parents[1])}")
        kubectl = shutil.which("kubectl")
        command = [kubectl, "apply", "-f", str(file)] if kubectl else [sys.executable, "-c", CREATE, str(file)]
        self._command(command, "applying")

    def _watch(self, name: str) -> None:
        """Look on until a run has ended; on a terminal its tree changes in place."""
        self._type(f"backstay tree {name} --watch")
        sys.stdout.flush()
        code = subprocess.run(
            [*BACKSTAY, "tree", name, "--watch"], env=self._environment, timeout=COMMAND_LIMIT_SECONDS, check=False
        ).returncode
        if code not in (0, 1):
            raise DemoFailed(f"looking at {name} ended with code {code}")

    def _command(self, command: list[str], what: str) -> str:
        result = subprocess.run(command, env=self._environment, capture_output=True, text=True, timeout=COMMAND_LIMIT_SECONDS, check=False)
        if result.returncode != 0:
            raise DemoFailed(f"{what} failed: {result.stderr.strip()}")
        return result.stdout

    # ------------------------------------------------------------------------------------------------------------- shop

    def _shop(self, command: str) -> str:
        return self._command([sys.executable, str(HERE / "shop.py"), command], f"shop.py {command}")

    def _books(self) -> Books:
        books: Books = json.loads(self._shop("show"))
        return books

    def _show(self, title: str, before: Books, after: Books) -> None:
        """Show what an order has changed, side by side."""
        print(f"\n  {title}:")
        for label, one, other in zip(*summary(before), summary(after)[1], strict=True):
            print(f"    {label:<22}{one:>8}  →{other:>8}{'' if one == other else '   *'}")

    @staticmethod
    def _say(words: str) -> None:
        print(f"\n# {words}")

    @staticmethod
    def _type(command: str) -> None:
        print(f"$ {command}", flush=True)


CREATE = """
import asyncio, sys, yaml
from backstay.kube.client import Client
from backstay.kube.resources import RUNS, WORKFLOWS, Resource
KINDS = {"Workflow": WORKFLOWS, "WorkflowRun": RUNS, "ConfigMap": Resource("", "v1", "configmaps", "ConfigMap")}
async def main():
    async with Client.from_kubeconfig() as client:
        for manifest in yaml.safe_load_all(open(sys.argv[1])):
            await client.create(KINDS[manifest["kind"]], "default", manifest)
asyncio.run(main())
"""
"""What stands in for `kubectl apply` on a machine without kubectl."""


def summary(books: Books) -> tuple[list[str], list[int]]:
    """Return what there is to say about the books, and the figures."""
    lines = {f"{row['sku']}s on the shelf": row["quantity"] for row in books["stock"]}
    lines |= {f"on {row['customer']}'s card": row["balance"] for row in books["cards"]}
    lines |= {book: len(books[book]) for book in ("reservations", "payments", "checks", "parcels", "shipments")}
    return list(lines), list(lines.values())


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask the cluster to end with everything in it, and wait until it has."""
    process.terminate()
    try:
        process.wait(STOP_LIMIT_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(STOP_LIMIT_SECONDS)


def main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    started = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="backstay-demo-") as folder:
        try:
            Demo(Path(folder)).run()
        except DemoFailed as error:
            print(f"\nthe demo failed: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print("\nstopped; nothing is left behind", file=sys.stderr)
            return 130
    print(f"\nAll of this took {time.monotonic() - started:.0f} s. Next: examples/order/README.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
