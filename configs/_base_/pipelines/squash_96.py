# As squash_224.py, all sizes times 3/7.
random_crop_96 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(110, 110), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=96),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
squash_96 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(96, 96), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
