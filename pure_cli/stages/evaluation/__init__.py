"""The metrics of evaluate, one file for each: per-neuron values, and tables of them."""
