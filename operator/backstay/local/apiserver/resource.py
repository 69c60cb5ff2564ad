"""A kind in one version, as the embedded API server serves it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

from backstay.local.apiserver.schema import Node, compile_schema

VERBS: Final = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(frozen=True)
class Resource:
    """A kind in one version: its names, what can be done with it, and, for custom resources, its schema.

    `selectable_fields` and the columns' paths are JSON paths that begin with a dot. `verbs` are discovery's words; create-only kinds
    (reviews) keep nothing. `scale` holds the paths of a scale subresource (`specReplicasPath` …).
    """

    group: str
    version: str
    plural: str
    kind: str
    singular: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    subresources: frozenset[str] = frozenset()
    schema: Mapping[str, Any] | None = None
    columns: tuple[Mapping[str, Any], ...] = ()
    selectable_fields: tuple[str, ...] = ()
    storage_version: str = ""
    verbs: tuple[str, ...] = VERBS
    list_kind: str = ""
    scale: Mapping[str, Any] | None = None
    deprecation: str = ""
    """The warning that every request to a deprecated version is answered with."""

    @property
    def api_version(self) -> str:
        """`v1` or `batch/v1`."""
        return f"{self.group}/{self.version}" if self.group else self.version

    @property
    def group_resource(self) -> str:
        """`pods` or `jobs.batch`."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @property
    def qualified_kind(self) -> str:
        """`Pod` or `Job.batch`."""
        return f"{self.kind}.{self.group}" if self.group else self.kind

    @property
    def is_custom(self) -> bool:
        """Whether a CustomResourceDefinition made it."""
        return self.schema is not None

    @cached_property
    def node(self) -> Node:
        """The compiled schema of the whole object. Only custom resources have one."""
        if self.schema is None:
            raise ValueError(f"{self.qualified_kind} is a builtin kind and has no schema: use gotyped.node_of_kind")
        return compile_schema(self.schema, root=True)


_VERSION: Final = re.compile(r"v(\d+)(?:(alpha|beta)(\d+))?")
_STABILITY: Final = {None: 0, "beta": 1, "alpha": 2}


def version_order(version: str) -> tuple[int, int, int, str]:
    """Return a key that sorts versions as Kubernetes prefers them: v2, v1, v2beta1, v1beta2, v1alpha1, then the others by name."""
    match = _VERSION.fullmatch(version)
    if match is None:
        return (3, 0, 0, version)
    return (_STABILITY[match[2]], -int(match[1]), -int(match[3] or 0), version)
