# ILSVRC 2012 with the pipelines of LCTR: as ilsvrc-deit-aug.py, test images resized bilinearly. The lctr
# protocol takes the first ground-truth box of an image alone.
_base_ = './ilsvrc-deit-aug.py'

test_pipeline = [
    {{_base_.load_image}},
    dict(type='ResizeEdge', scale=256, edge='short', interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]

val_dataloader = dict(dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(dataset=dict(pipeline=test_pipeline))
