"""Make operator/backstay/local/apiserver/gotypes.txt from the Go sources of Kubernetes (k8s.io/api, apimachinery, apiextensions-apiserver).

Run it by hand after `go mod download` of those modules, when the version that the embedded cluster speaks goes up:

    python tests/embedded/apiserver/make_gotypes.py "$(go env GOMODCACHE)" v0.37.2

A struct is a line with its name, then a line a field: protobuf number (or -), JSON name (or + for an inlined struct), type, and what
the comments and tags say on merging (`list=map:name`, `list=set`, `list=atomic`, `map=atomic`, `patch=merge:name`). `*` before a type
means that a zero is a value of its own. Documentation is left out: the table serves merging and decoding only.
"""

import re
import sys
from pathlib import Path
from typing import Any

PACKAGES = {
    "core/v1": "api/core/v1",
    "batch/v1": "api/batch/v1",
    "apps/v1": "api/apps/v1",
    "rbac/v1": "api/rbac/v1",
    "coordination/v1": "api/coordination/v1",
    "events/v1": "api/events/v1",
    "authentication/v1": "api/authentication/v1",
    "authorization/v1": "api/authorization/v1",
    "autoscaling/v1": "api/autoscaling/v1",
    "policy/v1": "api/policy/v1",
    "scheduling/v1": "api/scheduling/v1",
    "networking/v1": "api/networking/v1",
    "discovery/v1": "api/discovery/v1",
    "storage/v1": "api/storage/v1",
    "admissionregistration/v1": "api/admissionregistration/v1",
    "apiextensions/v1": "apiextensions-apiserver/pkg/apis/apiextensions/v1",
    "meta/v1": "apimachinery/pkg/apis/meta/v1",
}
PREFIX = {"metav1": "meta/v1", "v1": "core/v1", "apiv1": "core/v1", "corev1": "core/v1", "core": "core/v1", "rbacv1": "rbac/v1"}
SPECIAL = {
    "metav1.Time": "Time", "meta/v1.Time": "Time", "metav1.MicroTime": "MicroTime", "metav1.Duration": "Duration", "resource.Quantity": "Quantity",
    "intstr.IntOrString": "IntOrString", "intstr.Type": "int", "types.UID": "string", "runtime.RawExtension": "Raw", "meta/v1.FieldsV1": "Raw",
    "meta/v1.Duration": "Duration", "meta/v1.MicroTime": "MicroTime", "types.NodeName": "string",
    "apiextensions/v1.JSON": "any", "apiextensions/v1.JSONSchemaPropsOrBool": "any", "apiextensions/v1.JSONSchemaPropsOrArray": "any",
    "apiextensions/v1.JSONSchemaPropsOrStringArray": "any", "apiextensions/v1.JSONSchemaProps": "any",
    "string": "string", "bool": "bool", "int": "int", "int32": "int", "int64": "int", "uint32": "int", "float64": "float", "byte": "byte",
}  # fmt: skip
MARKERS = re.compile(r"^\s*//\s*\+(listType|listMapKey|mapType|structType)=(\S+)")
FIELD = re.compile(r"^\t(?:(\w+)\s+)?([\w.*\[\]]+)\s+`([^`]*)`")
ALIAS = re.compile(r"^type (\w+) ([\w.*\[\]]+)$")
STRUCT = re.compile(r"^type (\w+) struct \{")


def main(cache: Path, version: str) -> None:
    aliases: dict[str, str] = {}
    structs: dict[str, list[tuple[str, str, str, str, dict[str, list[str]]]]] = {}
    atomic: set[str] = set()
    for package, folder in PACKAGES.items():
        module, _, rest = folder.partition("/")
        for path in sorted((cache / "k8s.io" / f"{module}@{version}" / rest).glob("*types*.go")):
            read(package, path.read_text(), aliases, structs, atomic)
    out = [f"# Made from the Go types of Kubernetes {version} (Apache-2.0, The Kubernetes Authors) by make_gotypes.py. Do not edit."]
    for name in sorted(structs):
        rows = [row(aliases, *field) for field in structs[name]]
        if name not in SPECIAL and not name.endswith("List"):
            out.append(f"{name} map=atomic" if name in atomic else name)
            out.extend(line for line in rows if not line.endswith(" + meta/v1.TypeMeta"))
    target = Path(__file__).parents[3] / "operator/backstay/local/apiserver/gotypes.txt"
    target.write_text("\n".join(out) + "\n")


def read(package: str, text: str, aliases: dict[str, str], structs: dict[str, list[Any]], atomic: set[str]) -> None:
    current: list[Any] | None = None
    markers: dict[str, list[str]] = {}
    for line in text.splitlines():
        if match := STRUCT.match(line):
            current = structs.setdefault(f"{package}.{match[1]}", [])
            atomic |= {f"{package}.{match[1]}"} if "atomic" in markers.get("structType", []) else set()
            markers = {}
        elif match := ALIAS.match(line):
            aliases[f"{package}.{match[1]}"] = qualify(package, match[2])
        elif line == "}":
            current = None
        elif match := MARKERS.match(line):
            markers.setdefault(match[1], []).append(match[2])
        elif current is not None and (match := FIELD.match(line)):
            current.append((package, match[1] or "", match[2], match[3], markers))
            markers = {}
        elif not line.strip().startswith("//"):
            markers = {}


def qualify(package: str, go: str) -> str:
    match = re.fullmatch(r"((?:\*|\[\]|map\[[\w.]+\])*)([\w.]+)", go)
    wrap = re.sub(r"map\[[\w.]+\]", "map:", match[1]).replace("[]", "list:")
    base = match[2]
    if base in SPECIAL:
        return wrap + SPECIAL[base]
    owner, _, name = base.rpartition(".")
    full = f"{PREFIX.get(owner, owner) or package}.{name}" if owner else f"{package}.{base}"
    return wrap + SPECIAL.get(full, full)


def resolve(kind: str, aliases: dict[str, str]) -> str:
    wrap, base = re.fullmatch(r"((?:\*|list:|map:)*)(.*)", kind).groups()
    while base in aliases:
        more, base = re.fullmatch(r"((?:\*|list:|map:)*)(.*)", aliases[base]).groups()
        wrap += more
    return (wrap + base).replace("list:byte", "bytes")


def row(aliases: dict[str, str], package: str, name: str, go: str, tags: str, markers: dict[str, list[str]]) -> str:
    json_tag = (re.search(r'json:"([^"]*)"', tags) or ["", ""])[1]
    proto = re.search(r'protobuf:"\w+,(\d+)', tags)
    inline = ",inline" in json_tag or (not json_tag.split(",")[0] and not name)
    json_name = "+" if inline else json_tag.split(",")[0]
    kind = resolve(qualify(package, go), aliases)
    parts = [proto[1] if proto else "-", json_name, kind]
    if "listType" in markers:
        keys = markers.get("listMapKey", [])
        parts.append(f"list={markers['listType'][0]}" + (":" + ",".join(keys) if keys else ""))
    if "atomic" in markers.get("mapType", []) + markers.get("structType", []):
        parts.append("map=atomic")
    if strategy := re.search(r'patchStrategy:"([^"]*)"', tags):
        key = re.search(r'patchMergeKey:"([^"]*)"', tags)
        parts.append(f"patch={strategy[1]}" + (f":{key[1]}" if key else ""))
    return " " + " ".join(parts)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
