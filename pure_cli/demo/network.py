"""The demo's network: a small residual network for handwritten digits, with so few channels that they have to share.

A model file in the form that ``pure --model FILE.py:FUNCTION`` takes: ``network.py:digits``.
"""

from pathlib import Path

from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("digits.safetensors")  # written by pure_cli.demo.train
MEAN = (0.5, 0.5, 0.5)  # of pixels in 0..1, as the weights were trained
STD = (0.5, 0.5, 0.5)
CLASSES = 10
WIDTHS = (12, 16, 16)  # channels of layer1, layer2, layer3: so few for ten classes that most neurons are polysemantic
BLOCKS = 1  # in each stage


def digits() -> nn.Module:
    """The network, not yet trained: (B, 3, 32, 32) normalised images to (B, 10) logits."""
    return DigitsResNet(WIDTHS, BLOCKS)


class Block(nn.Module):
    """Two 3 × 3 convolutions beside a shortcut: the identity, or a 1 × 1 projection where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False),
                nn.BatchNorm2d(outputs),
            )
        self.relu2 = nn.ReLU()

    def forward(self, images: Tensor) -> Tensor:
        residual = self.relu1(self.bn1(self.conv1(images)))
        residual = self.bn2(self.conv2(residual))
        return self.relu2(residual + self.shortcut(images))


class DigitsResNet(nn.Module):
    """Stem, three stages at 32, 16 and 8 pixels, mean over space, linear readout.

    Parameters
    ----------
    widths : channels of ``layer1``, ``layer2`` and ``layer3``
    blocks : residual blocks in each stage
    """

    def __init__(self, widths: tuple[int, int, int], blocks: int) -> None:
        super().__init__()
        first, second, third = widths
        self.conv1 = nn.Conv2d(3, first, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.relu = nn.ReLU()
        self.layer1 = _stage(first, first, blocks, stride=1)
        self.layer2 = _stage(first, second, blocks, stride=2)
        self.layer3 = _stage(second, third, blocks, stride=2)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.flatten = nn.Flatten()
        self.fc = nn.Linear(third, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        features = self.relu(self.bn1(self.conv1(images)))
        features = self.layer3(self.layer2(self.layer1(features)))
        return self.fc(self.flatten(self.pool(features)))


def _stage(inputs: int, outputs: int, blocks: int, stride: int) -> nn.Sequential:
    rest = (Block(outputs, outputs, 1) for _ in range(blocks - 1))
    return nn.Sequential(Block(inputs, outputs, stride), *rest)
