"""The shapes world, whose truth is known: grammar and renderer. ``training/`` made its models."""
