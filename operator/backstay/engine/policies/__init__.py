"""Policies: small pure decisions that steps of any kind share, one a file."""
