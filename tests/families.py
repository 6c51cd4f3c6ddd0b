"""The families of networks that pure is tried on: the smallest member of each, or nearly so."""

from typing import NamedTuple


class Family(NamedTuple):
    """A family of networks.

    Attributes
    ----------
    model : as --model takes it
    title : what it is called
    size : side in pixels of the smallest images that it takes and that leave its last two stages some positions
    """

    model: str
    title: str
    size: int = 64


FAMILIES = (
    Family("torchvision:alexnet", "AlexNet", 96),
    Family("torchvision:vgg11", "VGG"),
    Family("torchvision:vgg11_bn", "VGG with batch norm"),
    Family("torchvision:resnet18", "ResNet"),
    Family("torchvision:resnext50_32x4d", "ResNeXt"),
    Family("torchvision:wide_resnet50_2", "Wide ResNet"),
    Family("torchvision:densenet121", "DenseNet"),
    Family("torchvision:inception_v3", "Inception", 128),
    Family("torchvision:googlenet", "GoogLeNet"),
    Family("torchvision:squeezenet1_1", "SqueezeNet"),
    Family("torchvision:shufflenet_v2_x0_5", "ShuffleNet V2"),
    Family("torchvision:mobilenet_v2", "MobileNet V2"),
    Family("torchvision:mobilenet_v3_small", "MobileNet V3"),
    Family("torchvision:mnasnet0_5", "MNASNet"),
    Family("torchvision:efficientnet_b0", "EfficientNet"),
    Family("torchvision:efficientnet_v2_s", "EfficientNet V2"),
    Family("torchvision:regnet_y_400mf", "RegNet"),
    Family("torchvision:convnext_tiny", "ConvNeXt"),
    Family("torchvision:vit_b_32", "ViT"),
    Family("torchvision:swin_t", "Swin"),
    Family("torchvision:swin_v2_t", "Swin V2"),
    Family("torchvision:maxvit_t", "MaxViT", 224),
    Family("timm:resnet18", "ResNet"),
    Family("timm:seresnet50", "SE-ResNet"),
    Family("timm:resnetv2_50", "ResNet V2"),
    Family("timm:densenet121", "DenseNet"),
    Family("timm:convnext_atto", "ConvNeXt"),
    Family("timm:vit_tiny_patch16_224", "ViT"),
    Family("timm:deit_tiny_patch16_224", "DeiT"),
    Family("timm:deit_tiny_distilled_patch16_224", "DeiT, distilled"),
    Family("timm:swin_tiny_patch4_window7_224", "Swin"),
    Family("timm:efficientnet_b0", "EfficientNet"),
    Family("timm:mobilenetv3_small_050", "MobileNet V3"),
    Family("timm:mobilenetv4_conv_small", "MobileNet V4"),
    Family("timm:regnetx_002", "RegNet"),
    Family("timm:mixer_s32_224", "MLP-Mixer"),
    Family("timm:vit_small_patch14_dinov2", "DINOv2", 56),
    Family("timm:vit_small_patch14_reg4_dinov2", "DINOv2 with registers", 56),
)
