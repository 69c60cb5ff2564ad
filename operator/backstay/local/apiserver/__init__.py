"""The embedded API server: Kubernetes' API in one process, durable in SQLite, for laptops and tests. `server.py` is where it begins."""
