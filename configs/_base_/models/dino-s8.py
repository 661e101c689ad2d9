# DINO ViT-S/8, frozen: only the head is trained. Takes any multiple of 8 as input size.
_base_ = './dino-s.py'

model = dict(
    pretrained='timm://vit_small_patch8_224.dino', backbone=dict(model_name='vit_small_patch8_224.dino')
)
