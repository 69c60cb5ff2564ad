"""Where things are, in the namespace default."""

CORE = "/api/v1/namespaces/default"
WIDGETS = "/apis/example.com/v1/namespaces/default/widgets"
JOBS = "/apis/batch/v1/namespaces/default/jobs"
PODS = f"{CORE}/pods"
CONFIG_MAPS = f"{CORE}/configmaps"
NAMESPACES = "/api/v1/namespaces"
