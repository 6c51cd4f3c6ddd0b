"""The families of networks that pure is tried on: the smallest member of each, or nearly so."""

from pathlib import Path
from typing import NamedTuple

TRANSFORMERS = Path(__file__).with_name("transformers_networks.py")


class Family(NamedTuple):
    """A family of networks.

    Attributes
    ----------
    model : as --model takes it
    title : what it is called
    size : side in pixels of the smallest images that it takes and that leave its last two stages some positions
    layers : the layer and the lower layer that pure has to choose, of networks of which that is written down
    channels : the axis of both that has the channels, images first
    """

    model: str
    title: str
    size: int = 64
    layers: tuple[str, str] = ("", "")
    channels: int = 1

    @property
    def weights(self) -> str | None:
        """Those of functions in a file are what the function makes."""
        return None if ".py:" in self.model else "none"

    @property
    def shown(self) -> str:
        return self.model.rpartition("/")[2]


def _of_transformers(function: str, title: str, layer: str, lower: str, channels: int) -> Family:
    return Family(f"{TRANSFORMERS}:{function}", title, 64, (layer, lower), channels)


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
    Family("torchvision:vit_b_32", "ViT", channels=2),
    Family("torchvision:swin_t", "Swin", channels=3),
    Family("torchvision:swin_v2_t", "Swin V2", channels=3),
    Family("torchvision:maxvit_t", "MaxViT", 224),
    Family("timm:resnet18", "ResNet"),
    Family("timm:seresnet50", "SE-ResNet"),
    Family("timm:resnetv2_50", "ResNet V2"),
    Family("timm:densenet121", "DenseNet"),
    Family("timm:convnext_atto", "ConvNeXt"),
    Family("timm:vit_tiny_patch16_224", "ViT", channels=2),
    Family("timm:deit_tiny_patch16_224", "DeiT", channels=2),
    Family("timm:deit_tiny_distilled_patch16_224", "DeiT, distilled", channels=2),
    Family("timm:swin_tiny_patch4_window7_224", "Swin", channels=3),
    Family("timm:efficientnet_b0", "EfficientNet"),
    Family("timm:mobilenetv3_small_050", "MobileNet V3"),
    Family("timm:mobilenetv4_conv_small", "MobileNet V4"),
    Family("timm:regnetx_002", "RegNet"),
    Family("timm:mixer_s32_224", "MLP-Mixer", channels=2),
    Family("timm:vit_small_patch14_dinov2", "DINOv2", 56, channels=2),
    Family("timm:vit_small_patch14_reg4_dinov2", "DINOv2 with registers", 56, channels=2),
    _of_transformers("vit", "ViT", "vit.layers.2", "vit.layers.1", 2),
    _of_transformers("deit", "DeiT", "deit.layers.2", "deit.layers.1", 2),
    _of_transformers("dinov2", "DINOv2", "encoder.layer.2", "encoder.layer.1", 2),
    _of_transformers("dinov2_registers", "DINOv2 with registers", "encoder.layer.2", "encoder.layer.1", 2),
    _of_transformers("dinov3", "DINOv3", "model.layer.2", "model.layer.1", 2),
    _of_transformers("clip", "CLIP", "encoder.layers.2", "encoder.layers.1", 2),
    _of_transformers("siglip", "SigLIP", "encoder.layers.2", "encoder.layers.1", 2),
    _of_transformers("beit", "BEiT", "layers.2", "layers.1", 2),
    _of_transformers("swin", "Swin", "swin.encoder.layers.2", "swin.encoder.layers.1", 2),
    _of_transformers("convnext", "ConvNeXt", "convnext.encoder.stages.3", "convnext.encoder.stages.2", 1),
    _of_transformers("resnet", "ResNet", "resnet.encoder.stages.3", "resnet.encoder.stages.2", 1),
)
