"""What an error says to whoever reads it."""

import pytest

from backstay.errors import Forbidden, missing_right

OPERATOR = 'User "system:serviceaccount:backstay:backstay"'


@pytest.mark.parametrize(
    ("words", "right"),
    [
        (
            f'jobs.batch is forbidden: {OPERATOR} cannot create resource "jobs" in API group "batch" in the namespace "shop"',
            "create jobs.batch",
        ),
        (f'pods is forbidden: {OPERATOR} cannot list resource "pods" in API group "" at the cluster scope', "list pods"),
        (
            f'workflowruns.backstay.dev "r" is forbidden: {OPERATOR} cannot patch resource "workflowruns/status" in API group "backstay.dev"',
            "patch workflowruns.backstay.dev/status",
        ),
        (
            'jobs.batch "j" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can\'t set finalizers on: , <nil>',
            "update workflowruns.backstay.dev/finalizers",
        ),
        ('pods "p" is forbidden: exceeded quota: none, requested: pods=1, used: pods=0, limited: pods=0', ""),
    ],
)
def test_a_missing_right_is_told_from_other_refusals(words: str, right: str) -> None:
    assert missing_right(words) == right


def test_a_refusal_for_lack_of_a_right_says_what_to_grant_and_another_does_not() -> None:
    missing = Forbidden(403, "Forbidden", f'{OPERATOR} cannot delete resource "jobs" in API group "batch"')
    assert str(missing).endswith(
        "; grant this account the right to delete jobs.batch; what the operator needs is in docs/rbac.md, and granted by the chart (rbac.create)"
    )
    assert str(Forbidden(403, "Forbidden", "exceeded quota: none")) == "403 Forbidden: exceeded quota: none"
