"""What the controller manager and the scheduler do in a real cluster, as far as workflows need it: Jobs, their pods, a node for each pod."""
