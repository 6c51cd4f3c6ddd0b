"""From images to vectors: CLIP, DINOv2, any timm or torchvision network, a file, or plain pixels."""
