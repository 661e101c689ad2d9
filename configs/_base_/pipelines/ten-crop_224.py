# As squash-crop_224.py, but the class scores are the mean over ten crops of each image (corners and centre,
# and those of the mirror image); maps and boxes are those of the centre crop. A batch holds ten times as many
# images.
ten_crop_224 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='TenCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]
