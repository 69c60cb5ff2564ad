"""A cluster for laptops and tests, in one process: it speaks Kubernetes' API, and runs each pod's command as a process of this machine.

apiserver/    the API, durable in SQLite         node/       the pod runner, a node of this cluster or of a real one
controllers/  Jobs and scheduling                cluster.py  all of them together    dev.py  `backstay dev`
"""
