"""job: run a container to its end, as a Kubernetes Job."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from backstay.api.base import (
    Duration,
    ErrorType,
    JsonObject,
    Model,
    Quantity,
    Text,
    unique,
)
from backstay.api.workspaces import EnvFrom, Mounts
from backstay.expressions.words import quoted

ENV_NAME_PATTERN = r"^[A-Za-z_][A-Za-z0-9_.-]*$"


class SecretKey(Model):
    """One key of a Secret or ConfigMap of the run's namespace."""

    name: str = Field(min_length=1, max_length=253, description="Name of the Secret or ConfigMap.")
    key: str = Field(min_length=1, max_length=253, description="The key in it.")
    optional: bool = Field(default=False, description="Start without the variable where the object or the key is missing.")


class EnvSource(Model):
    """Where the value of an environment variable comes from. It reaches the pod as a reference and never passes through Backstay."""

    secret_key_ref: SecretKey | None = Field(default=None, description="A key of a Secret.")
    config_map_key_ref: SecretKey | None = Field(default=None, description="A key of a ConfigMap.")

    @model_validator(mode="after")
    def _one_source(self) -> "EnvSource":
        if (self.secret_key_ref is None) == (self.config_map_key_ref is None):
            raise ValueError("give exactly one of secretKeyRef and configMapKeyRef")
        return self


class EnvVar(Model):
    """An environment variable of the container."""

    name: str = Field(
        pattern=ENV_NAME_PATTERN, max_length=253, description="Name of the variable. Names that begin with BACKSTAY_ are ours."
    )
    value: Text | None = Field(default=None, description="Its value; may hold expressions in ${ }.")
    value_from: EnvSource | None = Field(default=None, description="Take the value from a Secret or ConfigMap.")

    @model_validator(mode="after")
    def _one_value(self) -> "EnvVar":
        if self.value is not None and self.value_from is not None:
            raise ValueError("give value or valueFrom, not both")
        if self.name.startswith("BACKSTAY_"):
            raise ValueError(f"{quoted(self.name)} begins with BACKSTAY_, which Backstay sets itself; choose another name")
        return self


class Resources(Model):
    """Compute resources of the container, as in a Pod."""

    requests: dict[str, Quantity] = Field(default_factory=dict, description="What the pod is placed by, as in {cpu: 100m, memory: 64Mi}.")
    limits: dict[str, Quantity] = Field(default_factory=dict, description="What the container may use at most.")


def _exit_code(code: str) -> str:
    if not re.fullmatch(r"[1-9][0-9]{0,2}", code) or int(code) > 255:
        raise ValueError(f"{quoted(code)} is no exit code of a container that failed; write a whole number from 1 to 255")
    return code


def _types_of_codes(codes: dict[str, str]) -> dict[str, str]:
    for code, kind in codes.items():
        if kind in ("*", "Transient", "Permanent"):
            raise ValueError(f"code {code}: {quoted(kind)} is a class of errors; give it one type, as in OutOfStock")
    return codes


ExitCode = Annotated[str, AfterValidator(_exit_code)]
"""How a container ended that failed, as text: a key of a map. kubectl makes text of an unquoted 3."""


class JobAction(Model):
    """Run a container to its end, as a Kubernetes Job with one pod. Each attempt is a Job of its own."""

    image: Text = Field(min_length=1, description="The container image; may hold expressions in ${ }.")
    command: tuple[Text, ...] = Field(
        default=(), max_length=256, description="Replaces the image's entry point; may hold expressions in ${ }."
    )
    args: tuple[Text, ...] = Field(
        default=(), max_length=256, description="Arguments; may hold expressions in ${ }. Numbers and objects become JSON text."
    )
    env: Annotated[tuple[EnvVar, ...], unique("variable", lambda item: item.name)] = Field(
        default=(), max_length=256, description="Environment variables besides Backstay's own."
    )
    env_from: tuple[EnvFrom, ...] = Field(
        default=(), max_length=64, description="Environment variables from all keys of Secrets and ConfigMaps; those of env win."
    )
    workspaces: Mounts = Field(default=(), max_length=64, description="Which of the workflow's workspaces the container sees, and where.")
    working_dir: Text | None = Field(default=None, description="Where the command starts.")
    resources: Resources | None = Field(default=None, description="Requests and limits of the container.")
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = Field(
        default=None, description="When to pull the image, as in a Pod."
    )
    service_account_name: str | None = Field(
        default=None, max_length=253, description="Service account of the pod instead of the run's. Its token is not mounted."
    )
    exit_codes: Annotated[dict[ExitCode, ErrorType], Field(max_length=64), AfterValidator(_types_of_codes)] = Field(
        default_factory=dict,
        description='Error types by exit code, as in {"3": OutOfStock}: a container that ends with that code, and names no error in its output, '
        "fails with that type instead of ExitCode.",
    )
    start_timeout: Duration | None = Field(
        default=None,
        description="How long a pod may take to be placed and to start, pulling its image included (default 5m); then the attempt fails.",
    )
    template: JsonObject | None = Field(
        default=None,
        description="A pod template (metadata and spec) that Backstay's own is merged over: volumes, node selectors, security settings.",
    )
