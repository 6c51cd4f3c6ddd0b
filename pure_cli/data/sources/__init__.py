"""The kinds of data sets that are read, a file for each."""
