# As squash_224.py, at 448x448: 480 is to 448 about what 256 is to 224.
random_crop_448 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(480, 480), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=448),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
squash_448 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(448, 448), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
