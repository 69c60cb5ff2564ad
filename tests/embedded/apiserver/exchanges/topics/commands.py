"""What kubectl makes of it: the commands of every day, as people type them, and what they print."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.differences import GO_VALUES
from tests.embedded.apiserver.exchanges.exchange import NAMESPACE, Exchange, kubectl

_N = f"-n {NAMESPACE}"
_SHOWN = """
apiVersion: example.com/v1
kind: Widget
metadata: {name: typed, labels: {made: by-hand}}
spec: {color: green, size: 4, parts: [{name: a}, {name: b}]}
"""


def commands() -> Iterator[Exchange]:
    yield kubectl("apply", f"apply {_N} -f -", _SHOWN)
    yield kubectl("apply again", f"apply {_N} -f -", _SHOWN)
    yield kubectl("apply a change", f"apply {_N} -f -", _SHOWN.replace("size: 4", "size: 5"))
    yield kubectl("apply a change dry", f"apply {_N} --dry-run=server -f -", _SHOWN.replace("size: 4", "size: 6"))
    yield kubectl("apply an unknown field", f"apply {_N} -f -", _SHOWN.replace("size: 4", "sizes: 4")).blotted(GO_VALUES)
    yield kubectl("apply an unknown field without validation", f"apply {_N} --validate=ignore -f -", _SHOWN.replace("size: 4", "sizes: 4"))
    yield kubectl("apply a broken rule", f"apply {_N} -f -", _SHOWN.replace("green", "red"))
    yield kubectl("apply on the server", f"apply {_N} --server-side --field-manager=me -f -", _SHOWN.replace("size: 4", "size: 9"))
    yield kubectl("apply on the server by force", f"apply {_N} --server-side --force-conflicts --field-manager=me -f -", _SHOWN)
    yield kubectl("diff of nothing", f"diff {_N} --server-side --force-conflicts --field-manager=me -f -", _SHOWN)
    yield kubectl("set a status", f"patch {_N} widget typed --subresource=status --type=merge -p {_STATUS}")
    yield kubectl("get", f"get {_N} widgets typed")
    yield kubectl("get wide", f"get {_N} wd typed -o wide")
    yield kubectl("get with labels", f"get {_N} wd typed --show-labels")
    yield kubectl("get with a column for a label", f"get {_N} wd typed -L made")
    yield kubectl("get names", f"get {_N} things -l made=by-hand -o name")
    yield kubectl("get by a category", f"get {_N} things -l made=by-hand")
    yield kubectl("get several kinds", f"get {_N} wd,cm -l made=by-hand")
    yield kubectl("get by JSONPath", f"get {_N} wd typed -o jsonpath='{{.spec.parts[*].name}}'")
    yield kubectl("get custom columns", f"get {_N} wd typed -o custom-columns=NAME:.metadata.name,SIZE:.spec.size")
    yield kubectl("get by a field", f"get {_N} wd --field-selector=spec.color=green -o name")
    yield kubectl("get sorted", f"get {_N} cm -l chosen --sort-by=.metadata.name -o name")
    yield kubectl("get what is not there", f"get {_N} wd nobody")
    yield kubectl("get no such kind", f"get {_N} gadgets")
    yield kubectl("get none", f"get {_N} wd -l nobody")
    yield kubectl("get the status", f"get {_N} wd typed --subresource=status")
    yield kubectl("get raw", f"get --raw /apis/example.com/v1/namespaces/{NAMESPACE}/widgets/nobody")
    yield kubectl("get in pages", f"get {_N} cm -l chosen --chunk-size=1 -o name")
    yield kubectl("wait for a condition", f"wait {_N} wd/typed --for=condition=Ready --timeout=5s")
    yield kubectl("wait for a value", f"wait {_N} wd/typed --for=jsonpath='{{.status.phase}}'=Done --timeout=5s")
    yield kubectl("wait in vain", f"wait {_N} wd/typed --for=condition=Lost --timeout=1s")
    yield kubectl("describe", f"describe {_N} wd typed")
    yield kubectl("label", f"label {_N} wd typed more=yes made-")
    yield kubectl("label what is labelled", f"label {_N} wd typed more=no")
    yield kubectl("annotate", f"annotate {_N} wd typed note=it")
    yield kubectl("patch", f'patch {_N} wd typed --type=merge -p \'{{"spec":{{"size":8}}}}\'')
    yield kubectl("patch by JSON", f'patch {_N} wd typed --type=json -p \'[{{"op":"remove","path":"/spec/size"}}]\'')
    yield kubectl("patch strategically", f'patch {_N} wd typed -p \'{{"spec":{{"size":8}}}}\'')
    yield kubectl("scale a gauge", f"scale {_N} gauge/least --replicas=7")
    yield kubectl("scale what has no scale", f"scale {_N} wd/typed --replicas=7")
    yield kubectl("create a config map", f"create {_N} configmap made --from-literal=a=b")
    yield kubectl("create a config map again", f"create {_N} configmap made --from-literal=a=b")
    yield kubectl("create dry", f"create {_N} configmap dry --dry-run=server -o name")
    yield kubectl("create a secret", f"create {_N} secret generic made --from-literal=a=b")
    yield kubectl("create a job", f"create {_N} job made --image=x -o name")
    yield kubectl(
        "replace", f"replace {_N} -f -", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "made"}, "data": {"c": "d"}}
    )
    yield kubectl(
        "replace what is not there", f"replace {_N} -f -", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "none"}}
    )
    yield kubectl("may I, by kubectl", f"auth can-i create widgets {_N}")
    yield kubectl("delete, and wait", f"delete {_N} wd typed --timeout=20s")
    yield kubectl("delete what is not there", f"delete {_N} wd typed")
    yield kubectl("delete what need not be there", f"delete {_N} wd typed --ignore-not-found")
    yield kubectl("delete several", f"delete {_N} cm/made secret/made job/made --timeout=20s")
    yield kubectl("delete by label", f"delete {_N} cm -l nobody")


_STATUS = """'{"status":{"phase":"Done","since":"2000-01-01T00:00:00Z","conditions":[{"type":"Ready","status":"True"}]}}'"""
