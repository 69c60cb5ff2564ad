"""The actions of steps that have models of their own, one group a file."""
