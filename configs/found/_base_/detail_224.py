# FOUND's augmentation: the whole image, squashed to 224x224, with a random loss of detail: the shorter side
# is first made 22 to 672 pixels long, and every second image is blurred.
detail_224 = [
    dict(type='LoadImageWithPillow'),
    dict(type='ResizeEdge', scale=224, edge='short', interpolation='bilinear', backend='pillow'),
    dict(
        type='RandomResize',
        scale=(1_000_000, 224),
        ratio_range=(0.1, 3.0),
        keep_ratio=True,
        interpolation='bilinear',
        backend='pillow',
    ),
    dict(type='Resize', scale=(224, 224), interpolation='bilinear', backend='pillow'),
    dict(type='GaussianBlur', magnitude_range=(0.1, 2.0), magnitude_std='inf', prob=0.5),
    dict(type='PackLocalizationInputs'),
]
