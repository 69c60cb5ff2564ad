"""Backstay: business processes on Kubernetes that know the way back."""

from functools import cache


@cache
def _version() -> str:
    from importlib.metadata import PackageNotFoundError, version  # takes 40 ms, which `backstay --help` need not wait for

    try:
        return version("backstay")
    except PackageNotFoundError:  # running from a tree that was never installed
        return "0.0.0"


def __getattr__(name: str) -> str:
    if name == "__version__":
        return _version()
    raise AttributeError(name)
