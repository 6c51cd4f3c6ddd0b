"""What attribute is made of: the neurons to do, and the relevances of a batch of images."""
