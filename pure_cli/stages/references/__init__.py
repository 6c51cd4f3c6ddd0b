"""What collect is made of: requested layers, scores, the pass over the images, ties."""
