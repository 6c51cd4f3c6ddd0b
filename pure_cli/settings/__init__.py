"""The settings of each stage: what can be said, what of it is right, what holds where nothing is said."""
