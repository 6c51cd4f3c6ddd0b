"""How relevances become features, a file for each: see `pure_cli.registry`."""
