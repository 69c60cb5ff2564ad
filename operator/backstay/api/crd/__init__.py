"""The CustomResourceDefinitions, generated from the models, so that the API server refuses what it can at `kubectl apply`.

`python -m backstay.api.crd DIR…` writes them, `--check` fails where a file differs. A structural schema cannot recurse: the first two lists of
steps are typed, deeper ones are left to the operator and `backstay lint`, which judge them with the same models.
"""

from backstay.api.crd.definitions import definitions, file_name, to_yaml

__all__ = ["definitions", "file_name", "to_yaml"]
