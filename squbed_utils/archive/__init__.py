"""A run's answers as plain files: the collection writes them, the estimators read them."""
