"""Repos of the Hugging Face hub: files in its cache, fetched where there is a network, and what is said where not."""
