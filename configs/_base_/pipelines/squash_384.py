# As squash_224.py, at 384x384: the ratio of 440 to 384 is that of 256 to 224.
random_crop_384 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(440, 440), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=384),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
squash_384 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(384, 384), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
