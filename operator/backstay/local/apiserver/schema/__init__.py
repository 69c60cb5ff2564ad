"""Structural schemas: what a CRD's `openAPIV3Schema` does to the objects of its kind.

    node       the schema, compiled once into a tree that the other modules walk
    prune      unknown fields: found, named, left out
    defaults   nulls that mean nothing are left out, missing values are filled in
    validate   types, bounds, patterns, enums, formats, oneOf/anyOf/allOf/not
    lists      uniqueness in lists of type set and map
    embedded   objects within objects (`x-kubernetes-embedded-resource`)
    rules      `x-kubernetes-validations`, CEL

All functions are pure; those that change something return a copy and share what stayed the same.
"""

from backstay.local.apiserver.schema.defaults import with_defaults
from backstay.local.apiserver.schema.embedded import check_embedded
from backstay.local.apiserver.schema.lists import check_unique
from backstay.local.apiserver.schema.node import Node, compile_schema
from backstay.local.apiserver.schema.prune import pruned
from backstay.local.apiserver.schema.rules import check_rules
from backstay.local.apiserver.schema.validate import check_value

__all__ = ["Node", "check_embedded", "check_rules", "check_unique", "check_value", "compile_schema", "pruned", "with_defaults"]
