"""What a user can get wrong with workspaces, each with its path and the mend."""

import pytest
import yaml

from backstay.api.validate import check_workflow, parse_workflow
from backstay.errors import InvalidDefinition

MOUNT = "steps: [{name: a, job: {image: x, workspaces: [{name: data, mountPath: /data}]}}]"
CLAIM = "{name: data, claim: {storage: 1Gi}}"


def problems_of(text: str) -> list[str]:
    try:
        found = check_workflow(parse_workflow(yaml.safe_load(text)))
    except InvalidDefinition as error:
        return [str(problem) for problem in error.problems]
    return [f"({problem.severity}) {problem}" if problem.severity == "warning" else str(problem) for problem in found]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (MOUNT, 'steps[0].job.workspaces[0].name: there is no workspace "data"; the workflow has none; declare it in workspaces'),
        (
            f"workspaces: [{{name: date, claim: {{storage: 1Gi}}}}]\n{MOUNT}",
            'steps[0].job.workspaces[0].name: there is no workspace "data"; there is: date; did you mean "date"?',
        ),
        (
            f"workspaces: [{{name: date, claim: {{storage: 1Gi}}}}]\n{MOUNT}",
            '(warning) workspaces[0]: no job mounts "date"; mount it in job.workspaces, or remove it',
        ),
        (
            f"workspaces: [{{name: data}}]\n{MOUNT}",
            "workspaces[0]: has no source; give exactly one of claim, existingClaim, secret, configMap",
        ),
        (
            f"workspaces: [{{name: data, existingClaim: x, secret: {{name: y}}}}]\n{MOUNT}",
            "workspaces[0]: has existingClaim and secret; give exactly one of claim, existingClaim, secret, configMap",
        ),
        (
            f"workspaces: [{{name: data, claim: {{storage: big}}}}]\n{MOUNT}",
            'workspaces[0].claim.storage: "big" is no size; write it as in 1Gi',
        ),
        (
            f'workspaces: [{{name: data, existingClaim: "${{ steps.a.outputs.x }}"}}]\n{MOUNT}',
            "workspaces[0].existingClaim: refers to steps; a workspace sees params and run only, which are the same for every step",
        ),
        (
            f'workspaces: [{{name: data, existingClaim: "${{ params.x }}"}}]\n{MOUNT}',
            'workspaces[0].existingClaim: params.x: there is no parameter "x"; the workflow has no parameters',
        ),
        (f"workspaces: [{CLAIM}, {CLAIM}]\n{MOUNT}", 'workspaces: workspace "data" stands at [0] and at [1]; give each a name of its own'),
        (
            f"workspaces: [{CLAIM}]\n{MOUNT.replace('/data', '/dev/x')}",
            'steps[0].job.workspaces[0]: "/dev/x" cannot be mounted over; choose a folder of its own, as in /data',
        ),
        (
            "steps: [{name: a, job: {image: x, envFrom: [{prefix: A_}]}}]",
            "steps[0].job.envFrom[0]: give exactly one of secretRef and configMapRef",
        ),
    ],
)
def test_a_faulty_workspace_is_answered_with_path_and_mend(text: str, problem: str) -> None:
    assert problem in problems_of(text)


def test_sound_workspaces_have_no_problem() -> None:
    text = """
parameters: [{name: archive}]
workspaces:
- {name: data, claim: {storage: "${params.archive}", accessModes: [ReadWriteMany], storageClassName: fast, name: "data-${run.name}"}}
- {name: archive, existingClaim: "${params.archive}"}
- {name: keys, secret: {name: pay, items: [{key: token, path: t}], optional: true}}
- {name: conf, configMap: {name: shop}}
steps:
- name: a
  job:
    image: x
    envFrom: [{secretRef: {name: pay}}, {prefix: C_, configMapRef: {name: shop, optional: true}}]
    workspaces:
    - {name: data, mountPath: /data}
    - {name: data, mountPath: /old, subPath: "${run.name}", readOnly: true}
    - {name: archive, mountPath: /archive}
    - {name: keys, mountPath: /keys}
    - {name: conf, mountPath: /conf}
"""
    assert problems_of(text) == []
