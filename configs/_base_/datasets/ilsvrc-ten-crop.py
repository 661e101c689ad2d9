# As ilsvrc-center-crop.py, but the test averages the class scores of ten crops of each image (corners and
# centre, and those of the mirror image); maps and boxes are those of the centre crop. A batch then holds ten
# times as many images. Validation during training keeps to the centre crop.
_base_ = './ilsvrc-center-crop.py'

load_image = dict(type='LoadImageWithPillow')
ten_crop_pipeline = [
    load_image,
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='TenCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]

test_dataloader = dict(dataset=dict(pipeline=ten_crop_pipeline))
