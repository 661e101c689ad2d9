# One image of each class of ILSVRC, the same for the same shots_seed. How the paper drew them and how long it
# trained is not published: here as many steps as in one epoch of all images (2,500 with 512 images in all).
_base_ = './sat_deit-s_ilsvrc.py'

train_dataloader = dict(drop_last=False, dataset=dict(shots_per_class=1, shots_seed=0))
train_cfg = dict(max_epochs=1250, val_begin=250, val_interval=250)
default_hooks = dict(checkpoint=dict(interval=250))
