"""Which rules conserve relevance on which families of networks: what the tests hold, and docs/rules.md shows.

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
CONSERVES: dict[str, tuple[str, ...]] = {
    "gradient-x-input": (*RECTIFIED, "ShuffleNet", "MNASNet"),  # as far as a network is piecewise linear through zero
    "epsilon": CONVOLUTIONAL,
    "epsilon-plus": PLUS,
    "epsilon-plus-flat": PLUS,
    "epsilon-alpha2-beta1": SIGNED,
    "epsilon-alpha2-beta1-flat": SIGNED,
    "gamma": (*RECTIFIED, "torchvision RegNet", "timm RegNet"),
    "integrated-gradients": CONVOLUTIONAL,  # the sum is the neuron's value less that at zero
    "attn-lrp": (*CONVOLUTIONAL, *NORMALISED, *ATTENTION),  # softmax keeps its term of order zero
}
