"""What comes with the package for a first look: handwritten digits and a small network trained on them."""
