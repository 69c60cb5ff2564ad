"""kopf's decorators, a few lines each: what they hear goes to the operator, and nothing is decided here."""
