# Images squashed to a square: to 256x256, followed by a random 224x224 crop and a flip, for training; to
# 224x224 for testing. The resize must be Pillow's (antialiased). EXIF orientation is ignored, as the boxes
# of the published data sets do.
random_crop_224 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(256, 256), interpolation='bilinear', backend='pillow'),
    dict(type='RandomCrop', crop_size=224),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(type='PackLocalizationInputs'),
]
squash_224 = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(224, 224), interpolation='bilinear', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
