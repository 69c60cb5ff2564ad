"""resource: make, change, delete, read or wait for any object of Kubernetes, as the run's service account.

    resource: {apply: {apiVersion: v1, kind: ConfigMap, metadata: {name: "cart-${params.orderId}"}, data: {state: open}}}
    resource: {patch: {apiVersion: apps/v1, kind: Deployment, name: web, merge: {spec: {replicas: 3}}}}
    resource: {wait: {apiVersion: apps/v1, kind: Deployment, name: web, condition: "${ object.status.readyReplicas >= 3 }"}}

What a manifest may not hold is judged here, for the linter and the engine alike: `mistakes`.
"""

import re
from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Any, Final, Literal

from pydantic import Field, model_validator

from backstay.api.base import IDENTIFIER_PATTERN, Expression, Json, JsonObject, Model, Text
from backstay.expressions.words import quoted
from backstay.names import GROUP

ACTS: Final = ("create", "apply", "patch", "delete", "get", "wait")
"""What a resource step may do; exactly one of them."""
MAKES: Final = ("create", "apply")
OBJECT: Final = "object"
"""What expressions about an object call it."""
SECRET: Final = "Secret"  # noqa: S105  the name of a kind
SECRET_FIELDS: Final = ("data", "stringData")
_KIND: Final = re.compile(r"[A-Za-z][A-Za-z0-9]*")
_API_VERSION: Final = re.compile(r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?/)?v[0-9][a-z0-9]*")


class Propagation(StrEnum):
    """What becomes of the objects that a deleted object owns (kubernetes.io: Garbage Collection)."""

    BACKGROUND = "Background"
    FOREGROUND = "Foreground"
    ORPHAN = "Orphan"


class Target(Model):
    """One object by its name."""

    api_version: Text = Field(min_length=1, description="Its group and version, as in apps/v1.")
    kind: Text = Field(min_length=1, description="Its kind, as in Deployment.")
    name: Text = Field(min_length=1, description="Its name; may hold expressions in ${ }.")
    namespace: Text | None = Field(
        default=None, description="Its namespace (default: the run's); the service account must have rights there."
    )


class ResourceGet(Target):
    """Read an object."""


class ResourceDelete(Target):
    """Delete an object. One that is not there is a success."""

    propagation: Propagation | None = Field(default=None, description="What becomes of what it owns (default: as its kind has it).")
    wait: bool = Field(default=True, description="Whether the step lasts until the object is gone, and not only marked as deleted.")


class ResourcePatch(Target):
    """Change an object that is there."""

    merge: JsonObject | None = Field(default=None, description="What to change (JSON Merge Patch, RFC 7396); null removes a field.")
    json_: tuple[JsonObject, ...] | None = Field(
        default=None,
        alias="json",
        max_length=256,
        description="Operations in order (JSON Patch, RFC 6902); those not repeatable need a test.",
    )
    subresource: Literal["status", "scale"] | None = Field(default=None, description="Change the object's status or scale instead.")

    @model_validator(mode="after")
    def _one_patch(self) -> "ResourcePatch":
        if (self.merge is None) == (self.json_ is None):
            raise ValueError("give exactly one of merge and json")
        return self


class ResourceWait(Model):
    """Wait for an object, or for those that a selector finds, to be as a condition says."""

    api_version: Text = Field(min_length=1, description="Its group and version, as in apps/v1.")
    kind: Text = Field(min_length=1, description="Its kind, as in Deployment.")
    name: Text | None = Field(default=None, description="Its name; may hold expressions in ${ }.")
    selector: Text | None = Field(default=None, description="Labels instead of a name, as in app=web,tier!=db.")
    namespace: Text | None = Field(
        default=None, description="Its namespace (default: the run's); the service account must have rights there."
    )
    condition: Expression | None = Field(
        default=None, description="What must be true of it; sees it as object. It is enough that it is there where nothing is said."
    )
    fail_when: Expression | None = Field(default=None, description="Where this is true of one of them, the step fails with ResourceFailed.")
    gone: bool = Field(default=False, description="Wait until it is not there any more, instead of for a condition.")
    at_least: int | None = Field(
        default=None, ge=1, le=10_000, description="With a selector: how many must be so (default: all that there are, and at least one)."
    )

    @model_validator(mode="after")
    def _one_wait(self) -> "ResourceWait":
        if (self.name is None) == (self.selector is None):
            raise ValueError("give exactly one of name and selector")
        if self.gone and (self.condition is not None or self.at_least is not None):
            raise ValueError("gone waits for nothing to be there; remove condition and atLeast")
        if self.at_least is not None and self.selector is None:
            raise ValueError("atLeast is for a selector, which may find several objects")
        return self


class ResourceAction(Model):
    """Make, change, delete, read or wait for any object of Kubernetes, with the rights of the run's service account and no others."""

    create: JsonObject | None = Field(
        default=None, description="A manifest of which the object is made. One that this step has made before is found again."
    )
    apply: JsonObject | None = Field(default=None, description="A manifest that is applied (server-side apply): made, or changed to be so.")
    patch: ResourcePatch | None = Field(default=None, description="Change an object that is there.")
    delete: ResourceDelete | None = Field(default=None, description="Delete an object.")
    get: ResourceGet | None = Field(default=None, description="Read an object, for outputs.")
    wait: ResourceWait | None = Field(default=None, description="Wait for an object to be as a condition says.")
    until: Expression | None = Field(
        default=None, description="With create, apply and patch: the step lasts until this is true of the object, which it sees as object."
    )
    fail_when: Expression | None = Field(
        default=None, description="With until: where this is true of the object, the step fails with ResourceFailed."
    )
    own: bool | None = Field(
        default=None,
        description="With create and apply: whether the object is deleted with the run (default: yes, if it is new, in the run's namespace and made going forward).",
    )
    force: bool = Field(default=False, description="With apply: take over fields that somebody else looks after.")
    outputs: dict[str, Json] | None = Field(
        default=None,
        description="What the step produces, by name; expressions see the object as object (default: its apiVersion, kind, namespace, name, uid).",
    )

    @model_validator(mode="after")
    def _fits(self) -> "ResourceAction":
        given = [name for name in ACTS if getattr(self, name) is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "does nothing"
            raise ValueError(f"{found}; give exactly one of {', '.join(ACTS)}")
        act = given[0]
        for field, acts in (("own", MAKES), ("until", (*MAKES, "patch")), ("fail_when", (*MAKES, "patch"))):
            if getattr(self, field) is not None and act not in acts:
                name = "failWhen" if field == "fail_when" else field
                inside = "; write condition and failWhen inside wait" if act == "wait" and field != "own" else ""
                raise ValueError(f"{name} is for {_either(acts)}, not for {act}{inside}")
        if self.force and act != "apply":
            raise ValueError(f"force is for apply, not for {act}")
        if self.fail_when is not None and self.until is None:
            raise ValueError("failWhen goes with until; say what the step waits for")
        if self.outputs is not None and (act == "delete" or (self.wait is not None and (self.wait.gone or self.wait.selector is not None))):
            raise ValueError("outputs are taken from one object; a deletion, a wait for gone and a selector have none")
        for name in self.outputs or {}:
            if not re.fullmatch(IDENTIFIER_PATTERN, name):
                raise ValueError(f"outputs: {quoted(name)} is no name; write letters, digits and underscores, as in readyReplicas")
        return self

    @property
    def act(self) -> str:
        """Which of the acts this is."""
        return next(name for name in ACTS if getattr(self, name) is not None)


def _either(names: tuple[str, ...]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"


# ------------------------------------------------------------------------------------------------- what a manifest may not hold


def mistakes(act: str, value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what is wrong with what a resource step is to do: the place below the act, as in `metadata.name`, and the mend.

    `value` is what stands below the act, in the form of a manifest. A text that holds an expression may become anything; once they are
    evaluated, the same is asked again.
    """
    yield from _kind_mistakes(value)
    if act in MAKES:
        yield from _metadata_mistakes(act, value.get("metadata"))
    if is_secret(value):
        below = value if act in MAKES else value.get("merge") or {}
        for name in SECRET_FIELDS:
            if isinstance(below, Mapping) and below.get(name):
                yield f"merge.{name}" if act == "patch" else name, _NEVER
        for index, operation in enumerate(value.get("json") or () if act == "patch" else ()):
            if _touches_secret_data(operation):
                yield f"json[{index}]", _NEVER


_NEVER: Final = (
    "would stand in the workflow, in the run's status and in its journal, and a Secret's data never may; "
    "let a job or an operator for secrets make the Secret, and refer to it"
)


def is_open(text: Any) -> bool:
    """Tell whether a text holds an expression: what becomes of it is known only when it is evaluated."""
    return isinstance(text, str) and "${" in text


def _kind_mistakes(value: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, pattern, example in (("apiVersion", _API_VERSION, "apps/v1"), ("kind", _KIND, "Deployment")):
        found = value.get(name)
        if not found:
            yield name, f"is missing; write it as in {example}"
        elif not isinstance(found, str) or (not is_open(found) and not pattern.fullmatch(found)):
            yield name, f"{quoted(found)} is no {name}; write it as in {example}"


def _metadata_mistakes(act: str, metadata: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(metadata, Mapping):
        yield "metadata", "is missing; a manifest has metadata with a name"
        return
    has_name, is_generated = bool(metadata.get("name")), bool(metadata.get("generateName"))
    if is_generated and (has_name or act == "apply"):
        mend = "remove it; there is a name" if has_name else "what is applied has a name; write name"
        yield "metadata.generateName", mend
    elif not has_name and not is_generated:
        yield "metadata.name", "is missing; an object needs a name, as in cart-${params.orderId}"
    for field in ("labels", "annotations"):
        entries = metadata.get(field)
        for key in entries if isinstance(entries, Mapping) else ():
            if str(key).startswith(f"{GROUP}/"):
                yield f"metadata.{field}", f"{quoted(key)} is for Backstay's own records; choose a name outside of {GROUP}/"


def is_secret(value: Mapping[str, Any]) -> bool:
    """Tell whether a manifest, or what names an object, is of a Secret, or may be of one."""
    return value.get("kind") == SECRET and (value.get("apiVersion") == "v1" or is_open(value.get("apiVersion")))


def _touches_secret_data(operation: Any) -> bool:
    """Nothing of a Secret may be copied either: the annotation of `kubectl apply` holds its data, and other annotations are shown."""
    if not isinstance(operation, Mapping):
        return False
    if operation.get("op") in ("copy", "move"):
        return True
    paths = [str(operation.get(name, "")) for name in ("path", "from") if name in operation]
    return any(path.split("/")[1:2] in ([], *([name] for name in SECRET_FIELDS)) for path in paths)
