"""What is asked: prompts with reference videos, from the shapes world or from datasets."""
