"""Start, observe, stop: the only places where a run touches the world."""
