"""What the atlas is made of: the content of a layer, of a neuron, their images, and the folder that keeps them."""
