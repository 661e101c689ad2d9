# Test images resized to a shorter side of 256 (bilinear), of which the central 224x224 pixels are used.
short_side_crop_224_bilinear = [
    dict(type='LoadImageWithPillow'),
    dict(type='ResizeEdge', scale=256, edge='short', interpolation='bilinear', backend='pillow'),
    dict(type='CenterCrop', crop_size=224),
    dict(type='PackLocalizationInputs'),
]
