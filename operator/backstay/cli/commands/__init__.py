"""The commands, one a file: what they ask the cluster, and what they print."""
