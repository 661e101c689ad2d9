# A ViT-T/16 of timm as it is; other maps by --cfg-options model.cam.type=GradCAM (LayerCAM, ClassAttention,
# CoupledAttention, ...).
_base_ = './_base_/ilsvrc_no-training.py'

model = dict(
    classifier=dict(
        type='TokenClassifier',
        backbone=dict(type='TokenVisionTransformer', arch='vit-tiny'),
        num_classes=1000,
        checkpoint_path='timm://vit_tiny_patch16_224.augreg_in21k_ft_in1k',
        # These weights were trained on images scaled to [-1, 1].
        mean=(127.5, 127.5, 127.5),
        std=(127.5, 127.5, 127.5),
    ),
    cam=dict(type='CAM'),
)
