"""What a request is about: its URL read as verb, resource, namespace, name and subresource, and its query as options.

URLs follow https://kubernetes.io/docs/reference/using-api/api-concepts/#resource-uris; the checks of options are those of apimachinery's
pkg/apis/meta/v1/validation.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backstay.local.apiserver import selectors
from backstay.local.apiserver.fields import FieldError, forbidden, go_quote, not_supported, required, too_long
from backstay.local.apiserver.fields import invalid as invalid_value
from backstay.local.apiserver.resources import Registry, Resource
from backstay.local.apiserver.selectors import EVERYTHING, Selection
from backstay.local.apiserver.status import StatusError, bad_request, invalid, no_such_path, not_found

if TYPE_CHECKING:
    from multidict import MultiMapping

    Query = MultiMapping[str]

_NAMESPACE_SUBRESOURCES: Final = ("status", "finalize")
_VERBS: Final = {"POST": "create", "PUT": "update", "PATCH": "patch"}


@dataclass(frozen=True, slots=True)
class Target:
    """The resource that a request acts on. `namespace` is "" for cluster-scoped resources and for all namespaces, `name` for collections."""

    verb: str
    resource: Resource
    namespace: str = ""
    name: str = ""
    subresource: str = ""


def parse_path(registry: Registry, method: str, path: str, *, watch: bool) -> Target | None:
    """Read the path of a resource request; None where nothing is served at it."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) > 2:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) > 3:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace = ""
    is_in_namespace = rest[0] == "namespaces" and len(rest) > 2 and rest[2] not in _NAMESPACE_SUBRESOURCES
    if is_in_namespace:
        namespace, rest = rest[1], rest[2:]
    plural, name, subresource, *beyond = [*rest, "", "", ""]
    resource = registry.find(group, version, plural)
    if resource is None or (is_in_namespace and not resource.namespaced) or any(beyond):
        if registry.is_builtin(group, version):
            raise no_such_path()
        return None
    verb = _verb(method, name, watch)
    if resource.is_custom and resource.namespaced and not namespace and (name or verb == "create"):
        return None
    if subresource and subresource not in resource.subresources:
        raise not_found(group, plural, name) if resource.is_custom else no_such_path()
    return Target(verb, resource, namespace, name, subresource)


def _verb(method: str, name: str, watch: bool) -> str:
    """Return what is done; whoever asks for an object by its name gets it, and no watch (apiserver's pkg/endpoints/request)."""
    if method in ("GET", "HEAD"):
        return "get" if name else "watch" if watch else "list"
    if method == "DELETE":
        return "delete" if name else "deletecollection"
    return _VERBS.get(method, "")


# ── options ─────────────────────────────────────────────────────────────────────────────────────


def flag(query: Query, name: str) -> bool | None:
    """Read a boolean parameter as Go does for the API: anything but 0 and false is true; None where it is absent."""
    values = query.getall(name, [])
    return values[0].lower() not in ("0", "false") if values else None


def number(query: Query, name: str) -> int | None:
    """Read an integer parameter. Raises 400."""
    text = query.get(name, "")
    if not text:
        return None
    try:
        value = int(text)
    except ValueError:
        raise bad_request(f"strconv.ParseInt: parsing {go_quote(text)}: invalid syntax") from None
    if not -(2**63) <= value < 2**63:
        raise bad_request(f"strconv.ParseInt: parsing {go_quote(text)}: value out of range")
    return value


def version_number(text: str) -> int:
    """Read a resourceVersion; "" is 0. Raises 400."""
    if why := _no_version(text):
        raise bad_request(why)
    return int(text or 0)


def get_version(query: Query) -> int:
    """Return the version that an object must at least have come to, which a GET may ask for. Raises 500, as the real server does."""
    text = query.get("resourceVersion", "")
    if why := _no_version(text):
        raise StatusError(500, "", why)
    return int(text or 0)


def _no_version(text: str) -> str:
    if not text or (text.isascii() and text.isdigit()):
        return ""
    return invalid_value("resourceVersion", text, f"strconv.ParseUint: parsing {go_quote(text)}: invalid syntax").text


@dataclass(frozen=True, slots=True)
class ListOptions:
    """Options of list, watch and deletecollection."""

    selection: Selection = EVERYTHING
    limit: int = 0
    continue_token: str = ""
    resource_version: str = ""
    resource_version_match: str = ""
    timeout_seconds: int | None = None
    allow_bookmarks: bool = False
    send_initial_events: bool | None = None


def list_options(target: Target, query: Query) -> ListOptions:
    """Read and check the options of a list or watch. Raises 400 and 422."""
    selection = selectors.parse(target.resource, query.get("labelSelector", ""), _field_selector(target, query))
    options = ListOptions(
        selection=selection,
        limit=max(number(query, "limit") or 0, 0),
        continue_token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        resource_version_match=query.get("resourceVersionMatch", ""),
        timeout_seconds=number(query, "timeoutSeconds"),
        allow_bookmarks=bool(flag(query, "allowWatchBookmarks")),
        send_initial_events=flag(query, "sendInitialEvents"),
    )
    if why := _no_version(options.resource_version):
        raise StatusError(500, "", why) if target.verb == "watch" else bad_request(f"invalid resource version: {why}")
    errors = _watch_errors(options) if target.verb == "watch" else _list_errors(options)
    if errors:
        raise _invalid_options("ListOptions", errors)
    return options


def _field_selector(target: Target, query: Query) -> str:
    text = query.get("fieldSelector", "")
    if not target.name:
        return text
    own = f"metadata.name={target.name}"
    if text and text != own:
        raise bad_request("fieldSelector metadata.name doesn't match requested name")
    return own


def _list_errors(options: ListOptions) -> list[FieldError]:
    errors: list[FieldError] = []
    match, path = options.resource_version_match, "resourceVersionMatch"
    if match:
        if not options.resource_version:
            errors.append(forbidden(path, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
        if options.continue_token:
            errors.append(forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
        if match not in ("Exact", "NotOlderThan"):
            errors.append(not_supported(path, match, ["Exact", "NotOlderThan", ""]))
        if match == "Exact" and options.resource_version == "0":
            errors.append(forbidden(path, 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'))
    if options.send_initial_events is not None:
        errors.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    return errors


def _watch_errors(options: ListOptions) -> list[FieldError]:
    errors: list[FieldError] = []
    match, path = options.resource_version_match, "resourceVersionMatch"
    if options.send_initial_events is not None and match != "NotOlderThan":
        errors.append(forbidden(path, "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"))
    if match:
        if options.send_initial_events is None:
            errors.append(forbidden(path, "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided"))
        if match != "NotOlderThan":
            errors.append(not_supported(path, match, ["NotOlderThan"]))
        if options.continue_token:
            errors.append(forbidden(path, "resourceVersionMatch is forbidden when continue is provided"))
    return errors


@dataclass(frozen=True, slots=True)
class WriteOptions:
    """Options of create, update and patch. `manager` falls back on the user agent's name, `force` is for apply only."""

    dry_run: bool = False
    manager: str = ""
    field_validation: str = "Warn"
    force: bool = False


def write_options(kind: str, query: Query, user_agent: str, *, is_apply: bool = False) -> WriteOptions:
    """Read and check the options of a write; `kind` is CreateOptions, UpdateOptions or PatchOptions. Raises 422."""
    manager, validation = query.get("fieldManager", ""), query.get("fieldValidation", "")
    force = flag(query, "force")
    errors: list[FieldError] = []
    if is_apply and not manager:
        errors.append(required("fieldManager", "is required for apply patch"))
    if kind == "PatchOptions" and not is_apply and force is not None:
        errors.append(forbidden("force", "may not be specified for non-apply patch"))
    errors += _manager_errors(manager)
    dry_run = _dry_run(query.getall("dryRun", []), errors)
    if validation not in ("", "Ignore", "Warn", "Strict"):
        errors.append(not_supported("fieldValidation", validation, ["", "Ignore", "Strict", "Warn"]))
    if errors:
        raise _invalid_options(kind, errors)
    return WriteOptions(dry_run, manager or user_agent.partition("/")[0][:128], validation or "Warn", bool(force))


def _manager_errors(manager: str) -> list[FieldError]:
    errors = [too_long("fieldManager", 128)] if len(manager) > 128 else []
    for position, character in enumerate(manager):
        if not character.isprintable():
            detail = f"invalid character U+{ord(character):04X} (at position {position})"
            errors.append(invalid_value("fieldManager", manager, detail))
    return errors


def _dry_run(values: list[str], errors: list[FieldError]) -> bool:
    if any(value != "All" for value in values):
        errors.append(not_supported("dryRun", values, ["All"]))
    return bool(values)


@dataclass(frozen=True, slots=True)
class DeleteOptions:
    """Options of a deletion; None where the client leaves it to the server."""

    grace_period_seconds: int | None = None
    propagation: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    dry_run: bool = False


def delete_options(query: Query, body: Mapping[str, Any] | None) -> DeleteOptions:
    """Read the options of a deletion from its body, or from the query where there is none. Raises 400 and 422."""
    given: Mapping[str, Any] = body or {
        "gracePeriodSeconds": number(query, "gracePeriodSeconds"),
        "propagationPolicy": query.get("propagationPolicy", "") or None,
        "orphanDependents": flag(query, "orphanDependents"),
        "dryRun": query.getall("dryRun", []),
    }
    if given.get("kind", "DeleteOptions") != "DeleteOptions":
        raise bad_request(f"decoded object cannot be converted to DeleteOptions: its kind is {given['kind']}")
    propagation, orphan = given.get("propagationPolicy"), given.get("orphanDependents")
    errors: list[FieldError] = []
    if propagation is not None and orphan is not None:
        errors.append(invalid_value("propagationPolicy", propagation, "orphanDependents and deletionPropagation cannot be both set"))
    if propagation not in (None, "Foreground", "Background", "Orphan"):
        errors.append(not_supported("propagationPolicy", propagation, ["Foreground", "Background", "Orphan", "nil"]))
    dry_run = _dry_run(list(given.get("dryRun") or ()), errors)
    if errors:
        raise _invalid_options("DeleteOptions", errors)
    if orphan is not None:
        propagation = "Orphan" if orphan else "Background"
    conditions = given.get("preconditions") or {}
    grace = given.get("gracePeriodSeconds")
    if grace is not None and not isinstance(grace, int):
        raise bad_request("json: cannot unmarshal into Go struct field DeleteOptions.gracePeriodSeconds of type int64")
    return DeleteOptions(
        None if grace is None else max(grace, 1) if grace < 0 else grace, propagation, *_preconditions(conditions), dry_run
    )


def _preconditions(conditions: Mapping[str, Any]) -> tuple[str | None, str | None]:
    return conditions.get("uid") or None, conditions.get("resourceVersion") or None


def _invalid_options(kind: str, errors: list[FieldError]) -> StatusError:
    return invalid("meta.k8s.io", kind, "", errors)
