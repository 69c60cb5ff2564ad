"""Whether what a person has made of a step's action is still one: it goes through the same checks as an action in a manifest."""

from collections.abc import Mapping
from typing import Final

from backstay.api.base import Json
from backstay.api.validate.parsing import parse_workflow
from backstay.api.validate.workflow import check_workflow
from backstay.errors import InvalidDefinition, Problem

EDITABLE: Final[Mapping[str, frozenset[str]]] = {
    "job": frozenset(
        (
            *("image", "command", "args", "env", "envFrom", "workingDir", "resources", "imagePullPolicy"),
            *("serviceAccountName", "template"),
        )
    ),
    "http": frozenset(("method", "url", "headers", "body", "followRedirects", "idempotencyHeader")),
    "resource": frozenset(("create", "apply", "patch", "delete", "get", "wait", "own", "force")),
    "workflow": frozenset(("name", "version", "template", "params")),
}
"""By kind: the fields of an action that are resolved before an attempt, so that an edit can change them."""


def check_action(kind: str, action: Mapping[str, Json]) -> list[Problem]:
    """Return what is wrong with an action that holds values and no expressions; paths are those inside the action.

    It is looked at as a step of a workflow of its own, where a `${` in its texts is what it says.
    """
    name = "edited"
    spec = {"steps": [{"name": name, kind: _literal(action)}]}
    place = f"steps[0].{kind}"
    try:
        problems = [problem for problem in check_workflow(parse_workflow(spec)) if problem.severity == "error"]
    except InvalidDefinition as error:
        problems = list(error.problems)
    return [Problem(problem.path.removeprefix(place).removeprefix("."), problem.message) for problem in problems]


def _literal(value: Json) -> Json:
    if isinstance(value, str):
        return value.replace("${", "$${")
    if isinstance(value, Mapping):
        return {key: _literal(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_literal(item) for item in value]
    return value
