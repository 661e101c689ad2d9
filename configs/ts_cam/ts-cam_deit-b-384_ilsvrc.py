# The reference publishes a result at 384x384 but no settings. Ours: images squashed to 440x440 (the same
# ratio as 256 to 224), crops of 384x384, everything else as at 224x224.
_base_ = ['../_base_/models/deit-b-384.py', '../_base_/pipelines/squash_384.py', './_base_/ilsvrc.py']

model = dict(head=dict(type='TSCAMHead', num_classes=1000))

train_dataloader = dict(dataset=dict(pipeline=_base_.random_crop_384))
val_dataloader = dict(dataset=dict(pipeline=_base_.squash_384))
test_dataloader = dict(dataset=dict(pipeline=_base_.squash_384))
