# ILSVRC 2012 with the pipelines of SAT: as ilsvrc.py, but test images are squashed to 256x256 and their
# central 224x224 pixels are used.
_base_ = './ilsvrc.py'

load_image = dict(type='LoadImageWithPillow')
test_pipeline = [
    load_image,
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]

val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
