"""Workspaces: volumes that the steps of a run share, for data that is larger than an output, and Secrets and ConfigMaps as files.

    workspaces:
    - {name: data, claim: {storage: 1Gi}}                    # made for each run, and deleted with it
    - {name: archive, existingClaim: "${params.archive}"}    # somebody else's, which stays
    - {name: keys, secret: {name: pay, items: [{key: token, path: token.txt}]}}

    job: {image: "shop/pack:1", workspaces: [{name: data, mountPath: /data}, {name: keys, mountPath: /keys}]}

Nothing that is in them passes through Backstay: a pod gets a reference, as in any manifest.
"""

from typing import Annotated, Final, Literal

from pydantic import Field, model_validator

from backstay.api.base import NAME_PATTERN, Identifier, Model, Text, unique
from backstay.expressions.words import quoted

SOURCES: Final = ("claim", "existingClaim", "secret", "configMap")
NAME_LENGTH: Final = 50
"""A volume's name is a DNS label, and says in front that it is a workspace."""
MOUNT_PATTERN: Final = r"^/[^:]*$"
OURS: Final = ("/dev", "/proc", "/sys")
"""Where nothing may be mounted: the first holds the termination message, which a step's output is."""

WorkspaceName = Annotated[str, Field(pattern=NAME_PATTERN, min_length=1, max_length=NAME_LENGTH)]


class Claim(Model):
    """A PersistentVolumeClaim that is made for each run, before the first step that mounts it, and deleted with the run."""

    storage: Text = Field(min_length=1, description="How large, as in 1Gi; may hold expressions over params and run.")
    access_modes: tuple[Literal["ReadWriteOnce", "ReadWriteMany", "ReadOnlyMany", "ReadWriteOncePod"], ...] = Field(
        default=("ReadWriteOnce",),
        min_length=1,
        max_length=4,
        description="Which nodes may mount it at the same time, as in a PersistentVolumeClaim.",
    )
    storage_class_name: Text | None = Field(default=None, description="Its storage class; the cluster's default where it is missing.")
    name: Text | None = Field(
        default=None,
        description="Its name, for whoever is to find it by that; may hold expressions (default: unique to run and workspace).",
    )


class KeyFile(Model):
    """One key of a Secret or ConfigMap as a file."""

    key: str = Field(min_length=1, max_length=253, description="The key.")
    path: str = Field(min_length=1, max_length=1024, description="The file's path below the mount.")


class Files(Model):
    """A Secret or ConfigMap of the run's namespace whose keys are files. Kubernetes hands it to the pod; Backstay never reads it."""

    name: Text = Field(min_length=1, description="Its name; may hold expressions over params and run.")
    items: tuple[KeyFile, ...] = Field(
        default=(), max_length=256, description="Which keys, and as which files (default: each under its own name)."
    )
    optional: bool = Field(default=False, description="Start without the files where it is missing.")


class Workspace(Model):
    """Something that steps can mount: exactly one source."""

    name: WorkspaceName = Field(description="What jobs call it.")
    claim: Claim | None = Field(default=None, description="A volume for each run, made and deleted with it.")
    existing_claim: Text | None = Field(
        default=None, description="The name of a PersistentVolumeClaim that is there; may hold expressions over params and run."
    )
    secret: Files | None = Field(default=None, description="A Secret's keys as files, read-only.")
    config_map: Files | None = Field(default=None, description="A ConfigMap's keys as files, read-only.")

    @model_validator(mode="after")
    def _one_source(self) -> "Workspace":
        given = [name for name, value in zip(SOURCES, self._sources(), strict=True) if value is not None]
        if len(given) != 1:
            found = f"has {' and '.join(given)}" if given else "has no source"
            raise ValueError(f"{found}; give exactly one of {', '.join(SOURCES)}")
        return self

    def _sources(self) -> tuple[object, ...]:
        return (self.claim, self.existing_claim, self.secret, self.config_map)

    @property
    def is_read_only(self) -> bool:
        """Whether nothing can be written there, whoever mounts it."""
        return self.secret is not None or self.config_map is not None


Workspaces = Annotated[tuple[Workspace, ...], unique("workspace", lambda item: item.name)]


class Mount(Model):
    """A workspace as a job sees it."""

    name: WorkspaceName = Field(description="Which of the workflow's workspaces.")
    mount_path: str = Field(pattern=MOUNT_PATTERN, max_length=1024, description="Where in the container, as in /data.")
    sub_path: Text | None = Field(default=None, description="A folder in it instead of all of it; may hold expressions in ${ }.")
    read_only: bool = Field(default=False, description="Whether the container may only read.")

    @model_validator(mode="after")
    def _a_path(self) -> "Mount":
        parts = self.mount_path.split("/")
        if ".." in parts or self.mount_path.rstrip("/") in ("", *OURS) or self.mount_path.startswith(tuple(f"{path}/" for path in OURS)):
            raise ValueError(f"{quoted(self.mount_path)} cannot be mounted over; choose a folder of its own, as in /data")
        return self


Mounts = Annotated[tuple[Mount, ...], unique("mountPath", lambda item: item.mount_path)]


class EnvFromSource(Model):
    """A Secret or ConfigMap by name."""

    name: Text = Field(min_length=1, description="Its name; may hold expressions in ${ }.")
    optional: bool = Field(default=False, description="Start without its variables where it is missing.")


class EnvFrom(Model):
    """All keys of a Secret or ConfigMap as environment variables. They reach the pod as a reference and never pass through Backstay."""

    prefix: Identifier | None = Field(default=None, description="Put in front of each key.")
    secret_ref: EnvFromSource | None = Field(default=None, description="A Secret of the run's namespace.")
    config_map_ref: EnvFromSource | None = Field(default=None, description="A ConfigMap of the run's namespace.")

    @model_validator(mode="after")
    def _one_source(self) -> "EnvFrom":
        if (self.secret_ref is None) == (self.config_map_ref is None):
            raise ValueError("give exactly one of secretRef and configMapRef")
        return self
