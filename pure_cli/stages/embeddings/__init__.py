"""What embed is made of: which embedder, and what of an image it is shown."""
