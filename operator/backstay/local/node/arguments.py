"""The options of a command line that every node has, alone or in an embedded cluster."""

import argparse
from pathlib import Path


def add_node_arguments(options: argparse.ArgumentParser) -> None:
    """Add what a node takes wherever it runs."""
    options.add_argument("--image-map", type=Path, metavar="FILE", help="YAML: what stands for which image")
    options.add_argument(
        "--missing-images", action="append", default=[], metavar="GLOB", help="images that cannot be pulled; may be repeated"
    )
    options.add_argument("--max-pods", type=int, default=110, metavar="N", help="pods at a time (default: %(default)s)")
    options.add_argument("--cpu", metavar="QUANTITY", help="capacity to announce; by default what the machine has")
    options.add_argument("--memory", metavar="QUANTITY", help="capacity to announce; by default what the machine has")


def capacity_from(arguments: argparse.Namespace) -> dict[str, str]:
    given = {"cpu": arguments.cpu, "memory": arguments.memory}
    return {resource: quantity for resource, quantity in given.items() if quantity}
