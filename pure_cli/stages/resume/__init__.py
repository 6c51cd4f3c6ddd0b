"""What lets a stage go on where a killed process left it."""
