"""Training of the shapes world's models: what they are shown and read, their parts, one loop."""
