"""What the paper and its neighbours measure: arrays in, numbers out, one file for each idea."""
