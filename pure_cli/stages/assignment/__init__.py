"""What `assign` is made of."""
