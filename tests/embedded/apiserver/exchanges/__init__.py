"""A long conversation with an API server, exchange by exchange, that the embedded one and the real one must answer alike.

`topics/` holds what is said, a file a topic; `exchange.py` what an exchange is; `talk.py` says it to a server; `nature.py` blots out what differs
from run to run; `differences.py` is the list of what differs on purpose, with reasons; `record.py` writes down what the real server answers.
"""
