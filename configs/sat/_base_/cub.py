# Everything of SAT on CUB but the model. The test classifies ten crops and localizes the centre crop.
_base_ = [
    '../../_base_/datasets/cub.py',
    '../../_base_/pipelines/ten-crop_224.py',
    './fine-grained.py',
]

# The reference trains with 64 images on each of 4 GPUs. On N other GPUs set batch_size=256/N. With another
# total, --auto-scale-lr scales the learning rate, which the reference never does.
train_dataloader = dict(batch_size=64)
val_dataloader = dict(batch_size=128, dataset=dict(pipeline=_base_.squash_crop_224))
test_dataloader = dict(batch_size=16, dataset=dict(pipeline=_base_.ten_crop_224))
