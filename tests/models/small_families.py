"""Small networks of many families, in double precision, without biases, and with weights that are all random."""

from functools import cache

import torch
import torchvision.models as tv
from torch import nn

SIZE = 64  # pixels


def _tv(name, **options):
    return lambda: getattr(tv, name)(weights=None, **options)


def _timm(name, **options):
    def make():
        import timm

        return timm.create_model(name, pretrained=False, **options)

    return make


def _headless(name):
    """Without the dense layers on top, which are most of its weights."""

    def make():
        model = getattr(tv, name)(weights=None, **({"init_weights": False} if name.startswith("vgg") else {}))
        model.classifier = nn.Sequential(nn.Flatten(), nn.LazyLinear(10))
        model.avgpool = nn.AdaptiveAvgPool2d(1)
        model(torch.zeros(1, 3, SIZE, SIZE))
        return model

    return make


def _vit():
    return tv.VisionTransformer(image_size=SIZE, patch_size=16, num_layers=3, num_heads=2, hidden_dim=16, mlp_dim=24)


def _swin(version):
    from torchvision.models.swin_transformer import PatchMergingV2, SwinTransformer, SwinTransformerBlockV2

    own = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2} if version == 2 else {}
    return lambda: SwinTransformer([4, 4], 12, [2, 2], [2, 4], [4, 4], **own)


def _maxvit():
    return tv.MaxVit((SIZE, SIZE), 8, 2, [8, 12], [1, 1], 4, 0.0)


def _mixer():
    from timm.models.mlp_mixer import MlpMixer

    return MlpMixer(img_size=SIZE, patch_size=16, num_blocks=3, embed_dim=16)


def _convnext():
    from torchvision.models.convnext import CNBlockConfig

    return tv.ConvNeXt([CNBlockConfig(8, 12, 2), CNBlockConfig(12, None, 2)])


# name -> how to make it, a layer, a lower layer through which all of it goes
CONVOLUTIONAL = {
    "torchvision ResNet": (_tv("resnet18"), "layer3", "layer2"),
    "torchvision ResNeXt": (_tv("resnext50_32x4d"), "layer3", "layer2"),
    "timm ResNet": (_timm("resnet26"), "layer3", "layer2"),
    "VGG": (_headless("vgg11_bn"), "features.21", "features.7"),
    "AlexNet": (_headless("alexnet"), "features.11", "features.5"),
    "SqueezeNet": (_tv("squeezenet1_1"), "features.9", "features.5"),
    "torchvision DenseNet": (_tv("densenet121"), "features.denseblock2", "features.denseblock1"),
    "timm DenseNet": (_timm("densenet121"), "features.denseblock2", "features.denseblock1"),
    "GoogLeNet": (_tv("googlenet", init_weights=False), "inception4a", "inception3a"),
    "Inception": (_tv("inception_v3", init_weights=False), "Mixed_5d", "Mixed_5b"),
    "ShuffleNet": (_tv("shufflenet_v2_x0_5"), "stage3", "stage2"),
    "MNASNet": (_tv("mnasnet0_5"), "layers.10", "layers.8"),
    "MobileNetV2": (_tv("mobilenet_v2"), "features.10", "features.4"),
    "torchvision MobileNetV3": (_tv("mobilenet_v3_small"), "features.8", "features.3"),
    "timm MobileNetV3": (_timm("mobilenetv3_small_050"), "blocks.3", "blocks.1"),
    "torchvision EfficientNet": (_tv("efficientnet_b0"), "features.4", "features.2"),
    "timm EfficientNet": (_timm("efficientnet_b0"), "blocks.3", "blocks.1"),
    "torchvision RegNet": (_tv("regnet_y_400mf"), "trunk_output.block3", "trunk_output.block2"),
    "timm RegNet": (_timm("regnety_002"), "s3", "s2"),
}
ATTENTION_FREE = {
    "torchvision ConvNeXt": (_convnext, "features.3", "features.1"),
    "timm ConvNeXt": (_timm("convnext_atto", depths=(1, 1, 2, 1), dims=(8, 8, 12, 12)), "stages.2", "stages.1"),
    "MLP-Mixer": (_mixer, "blocks.2", "blocks.0"),
}
ATTENTION = {
    "torchvision ViT": (_vit, "encoder.layers.encoder_layer_2", "encoder.layers.encoder_layer_0"),
    "timm ViT": (
        _timm("vit_tiny_patch16_224", img_size=SIZE, depth=3, embed_dim=16, num_heads=2, init_values=1.0),
        "blocks.2",
        "blocks.0",
    ),
    "timm DINOv2": (
        _timm("vit_small_patch14_dinov2", img_size=56, depth=3, embed_dim=16, num_heads=2),
        "blocks.2",
        "blocks.0",
    ),
    "torchvision Swin": (_swin(1), "features.3", "features.1"),
    "torchvision Swin V2": (_swin(2), "features.3", "features.1"),
    "timm Swin": (
        _timm(
            "swin_tiny_patch4_window7_224", img_size=SIZE, window_size=4, embed_dim=12, depths=(2, 2), num_heads=(2, 2)
        ),
        "layers.1",
        "layers.0",
    ),
    "torchvision MaxViT": (_maxvit, "blocks.1", "blocks.0"),
    "timm MaxViT": (
        _timm("maxvit_rmlp_pico_rw_256", img_size=SIZE, depths=(1, 1, 1, 1), embed_dim=(32, 32, 32, 32)),
        "stages.2",
        "stages.1",
    ),
}
_INCEPTION_TOP = ("Mixed_6a", "Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e", "Mixed_7a", "Mixed_7b", "Mixed_7c")
_GOOGLE_TOP = ("inception4b", "inception4c", "inception4d", "inception4e", "inception5a", "inception5b")
_DENSE_TOP = tuple(f"features.{name}" for name in ("transition2", "denseblock3", "transition3", "denseblock4", "norm5"))

# name -> the modules above the layer, most of the weights of which no test sees anything, and the head on top of them
ABOVE = {
    "torchvision ResNet": (("layer4",), "fc"),
    "torchvision ResNeXt": (("layer4",), "fc"),
    "timm ResNet": (("layer4",), "fc"),
    "VGG": (("features[:22]",), "classifier.1"),
    "torchvision DenseNet": (_DENSE_TOP, "classifier"),
    "timm DenseNet": (_DENSE_TOP, "classifier"),
    "GoogLeNet": (_GOOGLE_TOP, "fc"),
    "Inception": (_INCEPTION_TOP, "fc"),
    "ShuffleNet": (("stage4", "conv5"), "fc"),
    "MNASNet": (("layers[:11]",), "classifier"),
    "MobileNetV2": (("features[:11]",), "classifier"),
    "torchvision MobileNetV3": (("features[:9]",), "classifier"),
    "timm MobileNetV3": (("blocks[:4]", "conv_head", "norm_head"), "classifier"),
    "torchvision EfficientNet": (("features[:5]",), "classifier"),
    "timm EfficientNet": (("blocks[:4]", "conv_head", "bn2"), "classifier"),
    "torchvision RegNet": (("trunk_output[:3]",), "fc"),
    "timm RegNet": (("s4",), "head.fc"),
}
ALL = {**CONVOLUTIONAL, **ATTENTION_FREE, **ATTENTION}


def without(model: nn.Module, above: tuple[str, ...], head: str, image: torch.Tensor) -> nn.Module:
    """The network itself without what lies above some layer.

    Parameters
    ----------
    above : names of modules, or what stays of a sequence of them, as ``features[:3]``
    head : name of what is on top, for which a dense layer comes
    image : that the network takes
    """
    for name in (*above, head):
        path, _, end = name.removesuffix("]").partition("[:")
        parent, _, own = path.rpartition(".")
        before = model.get_submodule(path)
        instead = before[: int(end)] if end else nn.LazyLinear(10) if name == head else nn.Identity()
        setattr(model.get_submodule(parent), own, instead.to(image.dtype))
    model.eval()(image)
    return model.requires_grad_(False)


@cache
def make(family: str) -> tuple[nn.Module, str, str, torch.Tensor]:
    """A network, two of its layers, and two images for it: the same for all tests, which leave it as it is."""
    build, layer, lower = ALL[family]
    torch.manual_seed(0)
    model = build().eval().double().requires_grad_(False)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.zero_()
    for name, parameter in model.named_parameters():
        if any(part in name for part in ("bias", "pos_embed", "token", "cpb_mlp", "rel_pos")):
            parameter.zero_()
        elif parameter.ndim < 2 or parameter.shape.numel() == max(parameter.shape):
            parameter.uniform_(0.5, 1.5)
        else:
            parameter.normal_(0, (1.5 / parameter[0].numel()) ** 0.5)
    size = 56 if family == "timm DINOv2" else 96 if family == "Inception" else SIZE
    images = torch.randn(2, 3, size, size, dtype=torch.float64)
    if family in ABOVE:
        without(model, *ABOVE[family], images)
    return model, layer, lower, images
