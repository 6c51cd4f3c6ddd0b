"""Families of networks, on some of which a rule conserves relevance (`pure_cli.models.rule.Rule`).

A rule conserves where the relevances of a lower layer add up to that of the neuron, once biases are zero (they keep
what is theirs). Families are named as in the tests' `small_families`.
"""

RECTIFIED = (
    *("torchvision ResNet", "torchvision ResNeXt", "timm ResNet", "VGG", "AlexNet", "SqueezeNet"),
    *("torchvision DenseNet", "timm DenseNet", "GoogLeNet", "Inception"),
)  # every convolution is behind a ReLU, and nothing is gated
BOTTLENECKS = ("ShuffleNet", "MNASNet", "MobileNetV2")  # convolutions, or sums, without a ReLU
GATED = (
    *("torchvision RegNet", "timm RegNet", "torchvision MobileNetV3", "timm MobileNetV3"),
    *("torchvision EfficientNet", "timm EfficientNet"),
)  # squeeze and excitation
CONVOLUTIONAL = (*RECTIFIED, *BOTTLENECKS, *GATED)
NORMALISED = ("torchvision ConvNeXt", "timm ConvNeXt", "MLP-Mixer")  # layer norm, no attention
ATTENTION = (
    *("torchvision ViT", "timm ViT", "timm DINOv2", "torchvision Swin", "torchvision Swin V2", "timm Swin"),
    *("torchvision MaxViT", "timm MaxViT"),
)

PLUS = (*RECTIFIED, "MNASNet", "MobileNetV2", "torchvision RegNet", "timm RegNet")
SIGNED = tuple(family for family in RECTIFIED if family != "SqueezeNet")  # somewhere nothing speaks against a neuron
