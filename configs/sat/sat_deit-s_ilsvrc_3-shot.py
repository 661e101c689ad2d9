# Three images of each class of ILSVRC, those of fewer shots among them; as many steps as with one.
_base_ = './sat_deit-s_ilsvrc_1-shot.py'

train_dataloader = dict(dataset=dict(shots_per_class=3))
train_cfg = dict(max_epochs=417, val_begin=139, val_interval=139)
default_hooks = dict(checkpoint=dict(interval=139))
