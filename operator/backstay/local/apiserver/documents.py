"""YAML as the API reads it: the JSON subset, without YAML's own dates."""

from typing import Any, cast

import yaml


class _Loader(yaml.CSafeLoader if hasattr(yaml, "CSafeLoader") else yaml.SafeLoader):  # type: ignore[misc]
    """A safe loader to which `2024-01-01` is a string, as it is to sigs.k8s.io/yaml."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def load_yaml(body: bytes) -> Any:
    """Return the one document of a body. Raises yaml.YAMLError."""
    return cast("Any", yaml.load(body, Loader=_Loader))  # noqa: S506 (derived from the safe loader)
