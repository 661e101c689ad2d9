# Ten images of each class of ILSVRC, those of fewer shots among them; as many steps as with one.
_base_ = './sat_deit-s_ilsvrc_1-shot.py'

train_dataloader = dict(dataset=dict(shots_per_class=10))
train_cfg = dict(max_epochs=125, val_begin=25, val_interval=25)
default_hooks = dict(checkpoint=dict(interval=25))
