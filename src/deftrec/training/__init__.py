"""One loop, the stages, checkpoints."""
