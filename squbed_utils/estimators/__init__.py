"""One task's embeddings turned into uncertainty. Higher means less certain."""
