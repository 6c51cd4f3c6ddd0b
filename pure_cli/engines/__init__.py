"""Who does the parts of a stage's work, where that is not this process."""
