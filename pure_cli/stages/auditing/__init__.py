"""What `audit` is made of."""
