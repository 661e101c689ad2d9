# ILSVRC 2012, trained with DeiT's augmentation and tested on the central crop of the resized image.
_base_ = ['./ilsvrc.py', '../pipelines/deit-aug_224.py', '../pipelines/short-side-crop_224_bicubic.py']

train_dataloader = dict(
    drop_last=True,
    sampler=dict(_delete_=True, **_base_.repeated_aug),
    dataset=dict(pipeline=_base_.deit_aug_224),
)
val_dataloader = dict(dataset=dict(pipeline=_base_.short_side_crop_224_bicubic))
test_dataloader = dict(dataset=dict(pipeline=_base_.short_side_crop_224_bicubic))
