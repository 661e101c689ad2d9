# As squash_448.py, by bicubic interpolation, as the images were that CLIP was trained on.
squash_448_bicubic = [
    dict(type='LoadImageWithPillow'),
    dict(type='Resize', scale=(448, 448), interpolation='bicubic', backend='pillow'),
    dict(type='PackLocalizationInputs'),
]
