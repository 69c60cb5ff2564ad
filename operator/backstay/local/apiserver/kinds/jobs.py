"""Jobs: defaults, the generated selector, rules, and what may change after creation.

Left out: success policies' indexes, gang scheduling (alpha).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from backstay.local.apiserver.fields import FieldError, go_quote, immutable, invalid, not_supported, required, too_long
from backstay.local.apiserver.kinds.job_policies import check_failure_policy
from backstay.local.apiserver.kinds.pod_rules import check_pod_spec
from backstay.local.apiserver.kinds.pods import default_pod_spec
from backstay.local.apiserver.syntax import check_labels, dns_label, qualified_name

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
_LEGACY_UID: Final = "controller-uid"
_LEGACY_NAME: Final = "job-name"
_COUNTS: Final = (
    "parallelism",
    "completions",
    "activeDeadlineSeconds",
    "backoffLimit",
    "ttlSecondsAfterFinished",
    "backoffLimitPerIndex",
    "maxFailedIndexes",
)
_NEVER_CHANGE: Final = ("selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy", "successPolicy")
_MAX_INDEXED: Final = 100_000
_MAX_MANAGED_BY: Final = 63
_INT32_MAX: Final = 2**31 - 1
_NON_NEGATIVE: Final = "must be greater than or equal to 0"
_INDEXED: Final = "Indexed"


def default_job(job: dict[str, Any]) -> None:
    """Fill in the defaults of a Job; changes it."""
    spec = job.setdefault("spec", {})
    default_job_spec(spec)
    labels = spec["template"]["metadata"].get("labels")
    if labels and not job["metadata"].get("labels"):
        job["metadata"]["labels"] = dict(labels)


def generate_job(job: dict[str, Any]) -> None:
    """Add the labels and the selector that bind a new Job to its pods and to no others, and an empty status; changes `job`."""
    template, own = job["spec"]["template"]["metadata"], job["metadata"].get("labels")
    copied = not own or own == template.get("labels")
    if not job["spec"]["manualSelector"]:
        _generate_selector(job)
    if copied and template.get("labels"):  # a Job without labels has those of its template whenever it is read, the generated ones too
        job["metadata"]["labels"] = dict(template["labels"])
    job["status"] = {}


def default_job_spec(spec: dict[str, Any]) -> None:
    """Fill in the defaults that templates in CronJobs get as well; changes `spec`."""
    if spec.get("completions") is None and spec.get("parallelism") is None:
        spec["completions"] = 1
    if spec.get("parallelism") is None:
        spec["parallelism"] = 1
    if spec.get("backoffLimit") is None:
        spec["backoffLimit"] = 6 if spec.get("backoffLimitPerIndex") is None else _INT32_MAX
    policy = spec.get("podFailurePolicy")
    for name, value in (
        ("completionMode", "NonIndexed"),
        ("suspend", False),
        ("podReplacementPolicy", "TerminatingOrFailed" if policy is None else "Failed"),
        ("manualSelector", False),
    ):
        if spec.get(name) is None:
            spec[name] = value
    for rule in (policy or {}).get("rules") or ():
        for condition in rule.get("onPodConditions") or ():
            condition["status"] = condition.get("status") or "True"
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    default_pod_spec(template.setdefault("spec", {}))


def _generate_selector(job: dict[str, Any]) -> None:
    """Label the pods with the Job's name and UID, and select by the UID: no other Job's pods can match."""
    uid, spec = job["metadata"]["uid"], job["spec"]
    labels = spec["template"]["metadata"].setdefault("labels", {})
    for key, value in (
        (_LEGACY_NAME, job["metadata"]["name"]),
        (JOB_NAME, job["metadata"]["name"]),
        (_LEGACY_UID, uid),
        (CONTROLLER_UID, uid),
    ):
        labels.setdefault(key, value)
    selector = spec.get("selector") or {}
    selector["matchLabels"] = {CONTROLLER_UID: uid, **(selector.get("matchLabels") or {})}
    spec["selector"] = selector


def check_job(job: Mapping[str, Any]) -> list[FieldError]:
    """Judge a Job that is created and has its defaults."""
    copied = check_labels(job["metadata"].get("labels"), "metadata.labels")
    return [*copied, *_check_generated(job), *check_job_spec(job["spec"], "spec"), *_check_selector(job["spec"]), *_check_hostname(job)]


def check_job_update(job: Mapping[str, Any], old: Mapping[str, Any]) -> list[FieldError]:
    """Judge a changed Job: pods that run already must go on being its pods."""
    spec, before = job["spec"], old["spec"]
    errors = [*check_job_spec(spec, "spec"), *_check_selector(spec), *_check_completions(spec, before)]
    errors += [immutable(f"spec.{name}", spec.get(name)) for name in _NEVER_CHANGE if spec.get(name) != before.get(name)]
    if _comparable_template(spec, old) != before["template"]:
        errors.append(immutable("spec.template.spec", spec["template"].get("spec")))
    return [*errors, *_check_hostname(job)]


def _comparable_template(spec: Mapping[str, Any], old: Mapping[str, Any]) -> Any:
    """Return the new template, with what a suspended Job without pods may change (where and how its pods are scheduled) set back."""
    before = old["spec"]
    status = old.get("status") or {}
    idle = not status.get("active") and (not status.get("startTime") or _has_condition(status, "Suspended"))
    if not (before.get("suspend") and idle):
        return spec["template"]
    template, earlier = copy.deepcopy(spec["template"]), before["template"]
    for name in ("labels", "annotations"):
        _set_back(template.setdefault("metadata", {}), earlier.get("metadata") or {}, name)
    for name in ("nodeSelector", "tolerations", "schedulingGates", "affinity"):
        _set_back(template["spec"], earlier["spec"], name)
    for name in ("containers", "initContainers"):
        for container, other in zip(template["spec"].get(name) or (), earlier["spec"].get(name) or (), strict=False):
            _set_back(container, other, "resources")
    return template


def _set_back(target: dict[str, Any], source: Mapping[str, Any], name: str) -> None:
    target.pop(name, None)
    if name in source:
        target[name] = source[name]


def _has_condition(status: Mapping[str, Any], kind: str) -> bool:
    return any(condition.get("type") == kind and condition.get("status") == "True" for condition in status.get("conditions") or ())


def _check_completions(spec: Mapping[str, Any], before: Mapping[str, Any]) -> list[FieldError]:
    completions = spec.get("completions")
    if completions == before.get("completions"):
        return []
    if spec.get("completionMode") != _INDEXED or completions is None or before.get("completions") is None:
        return [immutable("spec.completions", completions)]
    if completions != spec.get("parallelism"):
        return [invalid("spec.completions", completions, "can only be modified in tandem with spec.parallelism")]
    return []


def check_job_spec(spec: Mapping[str, Any], field: str) -> list[FieldError]:
    """Judge a Job's spec, also within a CronJob; the selector is judged apart."""
    errors = [invalid(f"{field}.{name}", spec[name], _NON_NEGATIVE) for name in _COUNTS if spec.get(name) is not None and spec[name] < 0]
    if spec.get("maxFailedIndexes") is not None and spec.get("backoffLimitPerIndex") is None:
        errors.append(required(f"{field}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    errors += _check_managed_by(spec.get("managedBy"), f"{field}.managedBy")
    errors += _check_mode(spec, field)
    if spec.get("podFailurePolicy") is not None:
        errors += check_failure_policy(spec, f"{field}.podFailurePolicy")
    errors += _check_replacement(spec, f"{field}.podReplacementPolicy")
    template = spec.get("template") or {}
    errors += check_labels((template.get("metadata") or {}).get("labels"), f"{field}.template.labels")
    errors += check_pod_spec(template.get("spec") or {}, f"{field}.template.spec")
    return errors + _check_restarts(spec, template.get("spec") or {}, f"{field}.template.spec.restartPolicy")


def _check_managed_by(name: str | None, field: str) -> list[FieldError]:
    if name is None:
        return []
    domain, slash, path = name.partition("/")
    errors = []
    if not name:
        errors.append(required(field))
    elif not (domain and slash and path):
        errors.append(invalid(field, name, 'must be a domain-prefixed path (such as "acme.io/foo")'))
    else:
        errors += [invalid(field, domain, words) for words in qualified_name(domain)]
    return [*errors, too_long(field, _MAX_MANAGED_BY)] if len(name) > _MAX_MANAGED_BY else errors


def _check_mode(spec: Mapping[str, Any], field: str) -> list[FieldError]:
    mode = spec.get("completionMode")
    if mode not in ("NonIndexed", _INDEXED):
        return [not_supported(f"{field}.completionMode", mode, ("NonIndexed", _INDEXED))]
    if mode != _INDEXED:
        words = "requires indexed completion mode"
        return [
            invalid(f"{field}.{name}", spec[name], words)
            for name in ("backoffLimitPerIndex", "maxFailedIndexes", "successPolicy")
            if spec.get(name) is not None
        ]
    errors: list[FieldError] = []
    completions, parallelism = spec.get("completions"), spec.get("parallelism") or 0
    if completions is None:
        errors.append(required(f"{field}.completions", "when completion mode is Indexed"))
    if parallelism > _MAX_INDEXED:
        words = f"must be less than or equal to {_MAX_INDEXED} when completion mode is Indexed"
        errors.append(invalid(f"{field}.parallelism", parallelism, words))
    if completions is not None and (spec.get("maxFailedIndexes") or 0) > completions:
        errors.append(invalid(f"{field}.maxFailedIndexes", spec["maxFailedIndexes"], "must be less than or equal to completions"))
    return errors


def _check_replacement(spec: Mapping[str, Any], field: str) -> list[FieldError]:
    supported = ("Failed",) if spec.get("podFailurePolicy") is not None else ("Failed", "TerminatingOrFailed")
    policy = spec.get("podReplacementPolicy")
    return [not_supported(field, policy, supported)] if policy is not None and policy not in supported else []


def _check_restarts(spec: Mapping[str, Any], pod: Mapping[str, Any], field: str) -> list[FieldError]:
    policy = pod.get("restartPolicy")
    allowed = ("OnFailure", "Never")
    if policy in (None, "", "Always"):
        return [required(field, f"valid values: {', '.join(go_quote(name) for name in allowed)}")]
    if policy not in allowed:
        return [not_supported(field, policy, allowed)]
    if spec.get("podFailurePolicy") is not None and policy != "Never":
        return [invalid(field, policy, 'only "Never" is supported when podFailurePolicy is specified')]
    return []


def _check_selector(spec: Mapping[str, Any]) -> list[FieldError]:
    selector = spec.get("selector")
    if selector is None:
        return [required("spec.selector")]
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    wanted = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in wanted.items()):
        return [invalid("spec.template.metadata.labels", labels, "`selector` does not match template `labels`")]
    return []


def _check_generated(job: Mapping[str, Any]) -> list[FieldError]:
    """Judge that labels given by hand do not contradict those that the server generates."""
    spec, metadata = job["spec"], job["metadata"]
    if spec.get("manualSelector") or spec.get("selector") is None:
        return []
    labels = (spec["template"].get("metadata") or {}).get("labels") or {}
    expected = {_LEGACY_UID: metadata["uid"], _LEGACY_NAME: metadata["name"], CONTROLLER_UID: metadata["uid"], JOB_NAME: metadata["name"]}
    errors = [
        invalid(f"spec.template.metadata.labels[{key}]", labels, f"must be '{value}'")
        for key, value in expected.items()
        if labels.get(key) != value
    ]
    wanted = spec["selector"].get("matchLabels") or {}
    if any(expected.get(key) != value for key, value in wanted.items()):
        errors.append(invalid("spec.selector", spec["selector"], "`selector` not auto-generated"))
    return errors


def _check_hostname(job: Mapping[str, Any]) -> list[FieldError]:
    completions = job["spec"].get("completions") or 0
    if job["spec"].get("completionMode") != _INDEXED or completions <= 0:
        return []
    name = job["metadata"]["name"]
    hostname = f"{name}-{completions - 1}"
    if not dns_label(hostname):
        return []
    return [invalid("metadata.name", name, f"will not able to create pod with invalid DNS label: {hostname}")]
