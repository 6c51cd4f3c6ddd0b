"""How relevance is computed, a file for each rule: see `pure_cli.registry`."""
