# Training as DeiT's: random resized crop, flip, RandAugment (rand-m9-mstd0.5-inc1), random erasing, and
# repeated augmentation, every image up to three times in an epoch.
deit_aug_224 = [
    dict(type='LoadImageWithPillow'),
    dict(
        type='RandomResizedCrop',
        scale=224,
        crop_ratio_range=(0.08, 1.0),
        aspect_ratio_range=(3 / 4, 4 / 3),
        interpolation='bicubic',
        backend='pillow',
    ),
    dict(type='RandomFlip', prob=0.5, direction='horizontal'),
    dict(
        type='RandAugment',
        policies='timm_increasing',
        num_policies=2,
        total_level=10,
        magnitude_level=9,
        magnitude_std=0.5,
        # Images are BGR: the mean of ImageNet.
        hparams=dict(pad_val=[104, 116, 124], interpolation='bicubic'),
    ),
    # Pixels of the normal distribution that the preprocessor turns into the standard one.
    dict(
        type='RandomErasing',
        erase_prob=0.25,
        mode='rand',
        min_area_ratio=0.02,
        max_area_ratio=1 / 3,
        aspect_range=(0.3, 1 / 0.3),
        fill_color=[103.53, 116.28, 123.675],
        fill_std=[57.375, 57.12, 58.395],
    ),
    dict(type='PackLocalizationInputs'),
]
# seed=0: epoch e has the permutation of seed e, whatever the seed of the run. A single process keeps that of
# epoch 0, as in the published code; reshuffle_single_process=True corrects that.
repeated_aug = dict(
    type='RepeatedAugSampler', num_repeats=3, selected_round=256, seed=0, reshuffle_single_process=False
)
