"""Training: the optimizer, checkpoints, probes and the loop."""
