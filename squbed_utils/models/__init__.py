"""What answers: models that refine prompts, generate, embed, score and caption videos."""
