"""The asking: one latent prompt at a time, on as many workers as there are."""
