"""Gradient × activation, as in PURE."""

from pure_cli.models.claims import RECTIFIED
from pure_cli.models.rule import Rule

RULE = Rule(conserves=(*RECTIFIED, "ShuffleNet", "MNASNet"))  # as far as a network is piecewise linear through zero
