"""What earlier stages left, as features, and whether it is up to date."""
