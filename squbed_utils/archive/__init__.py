"""What was answered: plain files, and the one thing that both halves of a run know."""
