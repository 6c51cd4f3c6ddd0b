"""Lists of concepts in words, and the sentences that they are put into."""

from pure_cli.concepts.lists import Concepts, read_concepts, united
from pure_cli.concepts.templates import TEMPLATES, read_templates

__all__ = ["TEMPLATES", "Concepts", "read_concepts", "read_templates", "united"]
