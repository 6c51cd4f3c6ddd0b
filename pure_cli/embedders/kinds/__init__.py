"""From images to vectors, a file for each kind of embedders: see `pure_cli.registry`."""
