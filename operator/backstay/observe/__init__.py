"""What others see of the operator: metrics, Kubernetes Events, logs."""
