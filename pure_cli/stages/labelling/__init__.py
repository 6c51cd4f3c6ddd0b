"""What `label` and `search` are made of."""
