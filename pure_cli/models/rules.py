"""LRP rules by name, with the canonizers that a network needs first (batch norm merged, sums as modules)."""

from typing import Any

import torch
import torchvision.models.resnet as torchvision_resnet
from torch import nn
from zennit.canonizers import AttributeCanonizer, Canonizer, SequentialMergeBatchNorm
from zennit.composites import EpsilonAlpha2Beta1, EpsilonAlpha2Beta1Flat, EpsilonPlus, EpsilonPlusFlat
from zennit.core import Composite
from zennit.layer import Sum
from zennit.torchvision import ResNetCanonizer, VGGCanonizer

from pure_cli.models.shared_rules import SharedRules

COMPOSITES: dict[str, type[Composite]] = {
    "epsilon-plus": EpsilonPlus,
    "epsilon-plus-flat": EpsilonPlusFlat,
    "epsilon-alpha2-beta1": EpsilonAlpha2Beta1,
    "epsilon-alpha2-beta1-flat": EpsilonAlpha2Beta1Flat,
}


def composite_for(rule: str, model: nn.Module) -> Composite:
    """The composite of a rule with the canonizers of a network; register it with ``composite.context(model)``.

    Its work on an image is shared by all backward passes over it.
    """
    return SharedRules(zennit_composite(rule, model))


def zennit_composite(rule: str, model: nn.Module) -> Composite:
    """The same as zennit has it."""
    return COMPOSITES[rule](canonizers=canonizers_for(model))


class TimmResNetCanonizer(AttributeCanonizer):
    """The residual sum of timm's ResNet blocks as a module, so that rules can split relevance at it.

    The blocks' other parts run as timm runs them.
    """

    def __init__(self) -> None:
        super().__init__(self._attribute_map)

    @staticmethod
    def _attribute_map(name: str, module: nn.Module) -> dict[str, object] | None:
        from timm.models.resnet import BasicBlock, Bottleneck

        if isinstance(module, Bottleneck):
            return {"forward": _bottleneck.__get__(module), "canonizer_sum": Sum()}
        if isinstance(module, BasicBlock):
            return {"forward": _basic.__get__(module), "canonizer_sum": Sum()}
        return None


def canonizers_for(model: nn.Module) -> list[Canonizer]:
    """The canonizers that fit a network; batch norm right behind a linear layer is merged in any network."""
    from timm.models.resnet import ResNet as TimmResNet

    if isinstance(model, torchvision_resnet.ResNet):
        return [ResNetCanonizer()]
    if type(model).__module__ == "torchvision.models.vgg":
        return [VGGCanonizer()]
    if isinstance(model, TimmResNet):
        return [SequentialMergeBatchNorm(), TimmResNetCanonizer()]
    return [SequentialMergeBatchNorm()]


def _tail(block: Any, x: torch.Tensor, shortcut: torch.Tensor, activation: Any) -> torch.Tensor:
    """From the last batch norm of a timm block to its output."""
    if block.se is not None:
        x = block.se(x)
    if block.drop_path is not None:
        x = block.drop_path(x)
    if block.downsample is not None:
        shortcut = block.downsample(shortcut)
    return activation(block.canonizer_sum(torch.stack([shortcut, x], dim=-1)))


def _basic(self: Any, x: torch.Tensor) -> torch.Tensor:
    shortcut = x
    x = self.aa(self.act1(self.drop_block(self.bn1(self.conv1(x)))))
    return _tail(self, self.bn2(self.conv2(x)), shortcut, self.act2)


def _bottleneck(self: Any, x: torch.Tensor) -> torch.Tensor:
    shortcut = x
    x = self.act1(self.bn1(self.conv1(x)))
    x = self.aa(self.act2(self.drop_block(self.bn2(self.conv2(x)))))
    return _tail(self, self.bn3(self.conv3(x)), shortcut, self.act3)
