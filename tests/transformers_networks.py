"""Vision networks of Hugging Face transformers, small and seeded: a function for each, as --model FILE.py:FUNCTION."""

import warnings

import torch

warnings.filterwarnings("ignore", module="transformers")
TOKENS = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
          "image_size": 64, "patch_size": 8}  # fmt: skip


def _made(model, config, **options):
    import transformers

    torch.manual_seed(0)
    return getattr(transformers, model)(getattr(transformers, config)(**options))


def vit():
    return _made("ViTForImageClassification", "ViTConfig", **TOKENS)


def deit():
    return _made("DeiTForImageClassification", "DeiTConfig", **TOKENS)


def dinov2():
    return _made("Dinov2Model", "Dinov2Config", **TOKENS)


def dinov2_registers():
    return _made("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", **TOKENS)


def dinov3():
    return _made("DINOv3ViTModel", "DINOv3ViTConfig", **TOKENS)


def clip():
    return _made("CLIPVisionModel", "CLIPVisionConfig", **TOKENS)


def siglip():
    return _made("SiglipVisionModel", "SiglipVisionConfig", **TOKENS)


def beit():
    return _made("BeitModel", "BeitConfig", **TOKENS)


def swin():
    sizes = {"embed_dim": 24, "depths": [2, 2, 2], "num_heads": [2, 2, 4], "window_size": 4}
    return _made("SwinForImageClassification", "SwinConfig", image_size=64, patch_size=4, **sizes)


def convnext():
    sizes = {"hidden_sizes": [8, 12, 16, 24], "depths": [1, 1, 2, 1]}
    return _made("ConvNextForImageClassification", "ConvNextConfig", **sizes)


def resnet():
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16, 24, 32], "depths": [1, 1, 2, 2]}
    return _made("ResNetForImageClassification", "ResNetConfig", layer_type="basic", **sizes)
