"""Training of the shapes world's checkpoints, from nothing."""
