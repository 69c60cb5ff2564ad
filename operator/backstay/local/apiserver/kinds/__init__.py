"""What the server does to builtin kinds beside storing them: defaults, generated fields, rules, immutability. A file a kind or family.

Each file follows Kubernetes' pkg/apis/…/defaults.go, pkg/apis/…/validation and pkg/registry/…/strategy.go (v1.37) as far as it matters to
those who run Jobs and Pods; what is left out is listed at the top of the file. Objects have been decoded (types are right) before they
come here.
"""

from backstay.local.apiserver.kinds.table import Kind, kind_of

__all__ = ["Kind", "kind_of"]
