"""Lists in pages, and lists and objects at a version."""

from collections.abc import Iterator

from tests.embedded.apiserver.exchanges.exchange import CORE, MAPS, WIDGETS, Exchange, asked, delete, get, post


def paging() -> Iterator[Exchange]:
    yield get("first page", asked(MAPS, limit=2, labelSelector="chosen"), accept=NAMES)
    yield get("second page", asked(MAPS, limit=2, labelSelector="chosen", **{"continue": "@continue:first page@"}), accept=NAMES)
    secrets = f"{CORE}/secrets"
    for name in ("s1", "s2", "s3"):
        yield post(f"create {name}", secrets, {"metadata": {"name": name}})
    yield get("first page of all", asked(secrets, limit=1), accept=NAMES)
    yield delete("delete s2", f"{secrets}/s2")
    yield get("the next page shows what was there", asked(secrets, limit=5, **{"continue": "@continue:first page of all@"}), accept=NAMES)
    yield get("page with a version", asked(secrets, limit=1, resourceVersion=1, **{"continue": "@continue:first page of all@"}))
    yield get("page with a match", asked(secrets, limit=1, resourceVersionMatch="Exact", **{"continue": "@continue:first page of all@"}))
    yield get("a bad limit", f"{WIDGETS}?limit=ten")
    yield get("no limit", asked(secrets, limit=0), accept=NAMES)
    yield get("a negative limit", asked(secrets, limit=-1), accept=NAMES)
    yield get("a huge limit", asked(secrets, limit=10**30))
    yield get("exactly as it was", asked(secrets, resourceVersion="@version:create s2@", resourceVersionMatch="Exact"), accept=NAMES)
    yield get("not older than", asked(secrets, resourceVersion="@version:create s2@", resourceVersionMatch="NotOlderThan"), accept=NAMES)
    yield get("from any time", asked(secrets, resourceVersion=0), accept=NAMES)
    yield get("any time in pages", asked(secrets, resourceVersion=0, limit=1), accept=NAMES)
    yield get("from a version on", asked(secrets, resourceVersion="@version:create s2@"), accept=NAMES)
    yield get("exactly at any time", asked(secrets, resourceVersion=0, resourceVersionMatch="Exact"))
    yield get("a match that is none", asked(secrets, resourceVersion=1, resourceVersionMatch="Nearly"))
    yield get("a version that is no number", asked(secrets, resourceVersion="soon"))
    yield get("a negative version", asked(secrets, resourceVersion=-1))
    yield get("an object at any time", asked(f"{secrets}/s1", resourceVersion=0))
    yield get("an object of the future", asked(f"{secrets}/s1", resourceVersion=999999999))
    yield get("an object at no version", asked(f"{secrets}/s1", resourceVersion="soon"))
    yield delete("delete the secrets", asked(secrets, fieldSelector="metadata.name!=none"))
    yield get("no secrets are left", secrets)


NAMES = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io"
