# As squash_224.py, at the size of the images that the network's weights were trained on, which is filled in
# when the config is read: 8/7 of it is to it what 256 is to 224.
random_crop_model = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale='model * 8/7', interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size='model'),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
squash_model = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale='model', interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
