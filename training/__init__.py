"""Training of the shapes world's checkpoints: grammar, drawing rules, text and the models."""
