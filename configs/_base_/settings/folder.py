# Training on a folder of one's own images: the short schedule, and checkpoints chosen by classification,
# because boxes may not be there; see docs/datasets.md. Everything but the model and the protocols.
_base_ = [
    '../datasets/folder.py',
    '../schedules/adamw-cosine_12e.py',
    '../default_runtime.py',
]

train_dataloader = dict(batch_size=32)
train_cfg = dict(val_interval=1)
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(save_best='Top-1_Cls', rule='greater'))
