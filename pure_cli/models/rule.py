"""What a file of `pure_cli.models.relevance` declares. Light: the settings read it too, and no torch is imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from zennit.core import Composite

    from pure_cli.core.circuits import Circuits


@dataclass(frozen=True)
class Rule:
    """How relevance is computed.

    Attributes
    ----------
    composite : of zennit's rules, where it is made of these; called with ``canonizers=…``. What of a network they do
        not fit (functions without a rule, weights made anew) is found and told
    circuits : for lower channels, where they are computed in another way; called as `pure_cli.core.circuits.Circuits`
    functions : AttnLRP's rules for functions are in force, which change gradients
    conserves : families of networks on which the relevances of a lower layer add up to that of the neuron, of
        `pure_cli.models.rule_coverage`: docs/rules.md shows it, and the tests hold it

    Notes
    -----
    Results are kept by the name: what comes to compute something else gets another one.
    """

    composite: Callable[..., Composite] | None = None
    circuits: Callable[..., Circuits] | None = None
    functions: bool = False
    conserves: tuple[str, ...] = ()

    @property
    def hooks(self) -> bool:
        """The backward pass hands on relevance by zennit's rules: every module may run once."""
        return self.composite is not None

    @property
    def canonized(self) -> bool:
        """Canonizers change what it finds."""
        return self.hooks or self.functions

    @property
    def of_outputs(self) -> bool:
        """The model's output can be attributed by it too, and not the neurons of a layer alone."""
        return self.circuits is None or self.functions

    def circuits_of(self, *arguments: Any) -> Circuits:
        """Circuits by the rule; parameters as of `pure_cli.core.circuits.Circuits`."""
        from pure_cli.core.circuits import Circuits

        return (self.circuits or Circuits)(*arguments)
