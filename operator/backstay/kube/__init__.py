"""The only code that speaks to an API server: client, informer, and the manifests of what is created."""
