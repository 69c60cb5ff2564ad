"""The environment, command and arguments of a container, with `$(VAR)` as Kubernetes expands it.

The rules are the kubelet's (pkg/kubelet/kubelet_pods.go, third_party/forked/golang/expansion): `envFrom` first, `env` over it in its order;
a `$(VAR)` that is not defined yet stays as it is; `$$` is a dollar.
"""

import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from backstay.local.node.api import Obj
from backstay.local.node.images import Image
from backstay.local.node.references import ReferenceMissing, References, field_of, resource_of

_VARIABLE: Final = re.compile(r"\$(?:\$|\(([^)]*)\))")

Rewrite = Callable[[str], str]
"""Turns a path of the container into the path of this machine that stands for it; leaves everything else alone."""


def expand(text: str, variables: Mapping[str, str]) -> str:
    """Replace `$(NAME)` by its value and `$$` by `$`."""

    def replacement(match: re.Match[str]) -> str:
        return "$" if match[1] is None else variables.get(match[1], match[0])

    return _VARIABLE.sub(replacement, text)


def base_environment(image: Image, root: Path, hostname: str) -> dict[str, str]:
    """Return what an image and its runtime would provide: this machine's PATH, with the interpreter that runs the node in front."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)]),
        "HOME": str(root),
        "TMPDIR": str(root / "tmp"),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOSTNAME": hostname,
        "BACKSTAY_ROOT": str(root),
        **image.env,
    }


async def variables_of(container: Obj, references: References, rewrite: Rewrite) -> dict[str, str]:
    """Return what `envFrom` and `env` define.

    Raises:
        ReferenceMissing: a ConfigMap, Secret, key or field that is not optional is not there.
    """
    defined: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        defined |= {key: rewrite(value) for key, value in (await _from_source(source, references)).items()}
    for entry in container.get("env") or ():
        value = await _value_of(entry, container, references, defined)
        if value is not None:
            defined[entry["name"]] = rewrite(value)
    return defined


async def _from_source(source: Obj, references: References) -> dict[str, str]:
    kind, selector = ("configmaps", source["configMapRef"]) if source.get("configMapRef") else ("secrets", source["secretRef"])
    found = await references.data(kind, selector.get("name", ""), optional=bool(selector.get("optional")))
    return {source.get("prefix", "") + key: value.decode(errors="replace") for key, value in (found or {}).items()}


async def _value_of(entry: Obj, container: Obj, references: References, defined: Mapping[str, str]) -> str | None:
    """Return the value of one `env` entry; None where an optional reference is missing."""
    source = entry.get("valueFrom")
    if entry.get("value") or not source:
        return expand(entry.get("value") or "", defined)
    if selector := source.get("fieldRef"):
        return field_of(references.pod, selector["fieldPath"])
    if selector := source.get("resourceFieldRef"):
        return resource_of(references.pod, container, selector)
    if selector := source.get("configMapKeyRef"):
        return await references.key("configmaps", selector)
    if selector := source.get("secretKeyRef"):
        return await references.key("secrets", selector)
    raise ReferenceMissing(f'variable "{entry["name"]}": this node does not know valueFrom.{next(iter(source))}')


def argv_of(container: Obj, image: Image, variables: Mapping[str, str], rewrite: Rewrite) -> list[str]:
    """Return what to execute: `command` replaces the image's command and arguments, `args` its arguments."""
    command: Sequence[str] = container.get("command") or ()
    args: Sequence[str] = container.get("args") or ()
    given = [rewrite(expand(word, variables)) for word in (*command, *args)]
    if command:
        return given
    return [*image.command, *(given if args else image.args)]
