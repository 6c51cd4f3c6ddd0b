"""Gradient × activation, as in PURE."""

from pure_cli.models.rule import Rule
from pure_cli.models.rule_coverage import RECTIFIED

RULE = Rule(conserves=(*RECTIFIED, "ShuffleNet", "MNASNet"))  # as far as a network is piecewise linear through zero
