"""Backstay: business processes on Kubernetes that know the way back."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("backstay")
except PackageNotFoundError:  # running from a tree that was never installed
    __version__ = "0.0.0"
