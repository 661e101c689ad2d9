# Test images squashed to 256x256, of which the central 224x224 pixels are used: objects have the size that
# they have in the random crops of squash_224.py.
squash_crop_224 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]
