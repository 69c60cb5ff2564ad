"""Steps that run other workflows: as runs of their own, or, for templates, in place."""

from pydantic import Field, model_validator

from backstay.api.base import JsonObject, Model, Name, Text
from backstay.expressions.words import quoted


class WorkflowAction(Model):
    """Run a Workflow of the same namespace to its end, as a WorkflowRun of its own. Each attempt is another run."""

    name: Text = Field(min_length=1, description="Name of the Workflow; may hold expressions in ${ }.")
    version: int | str | None = Field(
        default=None,
        description="Number of its revision, or an expression that gives it; the newest at the time of the attempt where it is missing.",
        json_schema_extra={"x-kubernetes-int-or-string": True},
    )
    template: Name | None = Field(default=None, description="Run one of the Workflow's templates instead of its body.")
    params: JsonObject = Field(default_factory=dict, description="Values for its parameters, by value; may hold expressions in ${ }.")
    wait: bool = Field(
        default=True,
        description="Wait for its end, and answer for it. With false the step is done once the run is there, and its only output is the run's name.",
    )
    undo: bool | None = Field(
        default=None,
        description="Undo the child where this run is undone and the step has no compensate of its own. By default a child that is waited for is "
        "undone, and one that is not (wait: false) stays; with true that one is undone as well, or cancelled where it still goes on.",
    )

    @property
    def is_undone(self) -> bool:
        """Whether the child is undone with the run that started it."""
        return self.wait if self.undo is None else self.undo

    @model_validator(mode="after")
    def _a_version(self) -> "WorkflowAction":
        version = self.version
        is_number = isinstance(version, int) and not isinstance(version, bool) and version >= 1
        is_text = isinstance(version, str) and ("${" in version or (version.isdecimal() and int(version) >= 1))
        if version is not None and not is_number and not is_text:
            raise ValueError(f"version {quoted(version)} is no number of a revision; write one from 1, or an expression in ${{ }}")
        return self


class RecoveryWorkflow(Model):
    """A Workflow of the same namespace that is run, by itself, once a run has failed."""

    name: Text = Field(min_length=1, description="Name of the Workflow; may hold expressions in ${ }.")
    version: int | str | None = Field(
        default=None,
        description="Number of its revision, or an expression that gives it; the newest where it is missing.",
        json_schema_extra={"x-kubernetes-int-or-string": True},
    )
    params: JsonObject = Field(
        default_factory=dict,
        description="Values for its parameters; may hold expressions in ${ }. They see error, and state: all steps with their phases, errors and "
        "outputs, and the variables, in at most 16 KiB.",
    )

    @model_validator(mode="after")
    def _as_an_action(self) -> "RecoveryWorkflow":
        self.as_action()
        return self

    def as_action(self) -> WorkflowAction:
        """Return the step that starts it and waits for nobody."""
        return WorkflowAction(name=self.name, version=self.version, params=self.params, wait=False)


class TemplateAction(Model):
    """Run the steps of a template of this workflow in place: in the same run, with parameters of their own."""

    name: Name = Field(description="Name of the template, one of spec.templates.")
    params: JsonObject = Field(default_factory=dict, description="Values for the template's parameters; may hold expressions in ${ }.")
