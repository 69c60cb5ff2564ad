"""Label and field selectors: every operator, and those that cannot be read."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.exchange import MAPS, NAMESPACE, PODS, Body, Exchange, asked, get, post


def selecting() -> Iterator[Exchange]:
    yield post("label a first one", MAPS, _labelled("first", tier="web", rank="1"))
    yield post("label a second one", MAPS, _labelled("second", tier="db", rank="2"))
    yield post("label a third one", MAPS, _labelled("third", rank="3", **{"example.com/owner": "me"}))
    for selector in LABELS:
        yield get(f"labels: {selector}", asked(MAPS, labelSelector=f"chosen,{selector}"), accept=NAMES)
    for selector in BAD_LABELS:
        yield get(f"bad labels: {selector}", asked(MAPS, labelSelector=selector))
    for selector in FIELDS:
        yield get(f"fields: {selector}", asked(MAPS, fieldSelector=selector, labelSelector="chosen"), accept=NAMES)
    for selector in BAD_FIELDS:
        yield get(f"bad fields: {selector}", asked(MAPS, fieldSelector=selector))
    yield get("fields of pods", asked(PODS, fieldSelector="status.phase=Running,spec.nodeName!=none,spec.restartPolicy=Always"))
    yield get("a field that pods cannot be selected by", asked(PODS, fieldSelector="spec.hostname=x"))
    yield get(
        "everywhere in a namespace", asked("/api/v1/configmaps", fieldSelector=f"metadata.namespace={NAMESPACE}", labelSelector="chosen")
    )
    yield get("one by its name and another name", asked(f"{MAPS}/first", fieldSelector="metadata.name=second"))


NAMES = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
LABELS = (
    "tier=web",
    "tier==web",
    "tier!=web",
    "tier in (web, db)",
    "tier notin (web)",
    "tier",
    "!tier",
    "rank>1",
    "rank<3",
    "rank gt 1",
    "tier=",
    "tier in (web),rank=1",
    "tier=web,tier=db",
    "example.com/owner=me",
    " tier = web ",
    "tier in ()",
)
BAD_LABELS = (
    "tier in web",
    "tier in (web",
    "tier in",
    "=web",
    "tier=a b",
    "tier>high",
    "a/b/c=d",
    "-tier",
    "tier=not_ok_",
    "tier,",
    ",tier",
    "!tier=web",
    "tier=web)",
    "tier notin",
    "tier~web",
    f"tier={'x' * 64}",
    f"{'x' * 64}=y",
)
FIELDS = (
    "metadata.name=first",
    "metadata.name==first",
    "metadata.name!=first",
    "metadata.name!=first,metadata.name!=second",
    "metadata.name=none",
    f"metadata.namespace={NAMESPACE}",
    "metadata.namespace=other",
    "",
    "metadata.name=",
    r"metadata.name=a\,b",
)
BAD_FIELDS = ("metadata.name", "metadata.name>a", "metadata.labels.tier=web", "data=x", r"metadata.name=a\b", "=first", "metadata.name=a=b")


def _labelled(name: str, **labels: str) -> Body:
    return {"metadata": {"name": name, "labels": {"chosen": "", **labels}}}
