# As squash_224.py, at 448x448: the ratio of 480 to 448 is that of TriLite's recipe for OpenImages.
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
