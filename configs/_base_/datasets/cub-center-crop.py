# CUB-200-2011 with the pipelines of SAT: as cub.py, but test images are squashed to 256x256 and their central
# 224x224 pixels are used, so that objects have the size they have in training.
_base_ = './cub.py'

load_image = dict(type='LoadImageWithPillow')
test_pipeline = [
    load_image,
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]

val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
