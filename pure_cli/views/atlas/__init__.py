"""The page on which one walks through a layer: a shell with its program inside, and the files that it reads."""
