"""What `render` is made of: which figures are there, and what is on the figure of a neuron."""
