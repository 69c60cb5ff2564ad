"""What the operator's image says about how it is run. The Dockerfile says the same; a test holds the two against each other."""

import tomllib
from pathlib import Path

from image.archive import Config

SOURCE = Path(__file__).resolve().parents[1]
"""The checkout."""
INPUTS = ("pyproject.toml", "requirements.lock", "requirements-dev.lock", "README.md", "LICENSE", "operator", "image")
"""What of the checkout goes into the image, or makes it; the .dockerignore lets nothing else through."""

USER, NAME = 65532, "backstay"
"""Neither root nor anybody whom a node knows."""
EPOCH = 1767225600
"""All files are dated with this moment, 2026-01-01 00:00 UTC, unless SOURCE_DATE_EPOCH says otherwise."""

PYTHON = {
    "PATH": "/usr/local/bin:/usr/bin",
    "LANG": "C.UTF-8",
    # Output at once, as nobody reads a buffer; no bytecode at run time, as the file system is read-only and all of it is compiled.
    "PYTHONUNBUFFERED": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
    # The one place to write to: the chart mounts an empty folder there.
    "HOME": "/tmp",  # noqa: S108  a path inside of the image
}
"""The environment for any program in Python on a read-only root file system."""


def operator() -> Config:
    """Return the configuration of the operator's image of this checkout."""
    project = tomllib.loads((SOURCE / "pyproject.toml").read_text())["project"]
    return Config(
        user=f"{USER}:{USER}",
        environment=PYTHON,
        entrypoint=["backstay"],
        command=["operator"],
        folder=PYTHON["HOME"],
        ports=[9090, 8080],  # metrics and health, where --metrics-port and --health-port do not say otherwise
        labels={
            "org.opencontainers.image.title": project["name"],
            "org.opencontainers.image.description": project["description"],
            "org.opencontainers.image.version": project["version"],
            "org.opencontainers.image.licenses": project["license"],
        },
    )
