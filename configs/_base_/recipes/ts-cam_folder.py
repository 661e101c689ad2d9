# Everything of TS-CAM on a folder of one's own images but the model: the short schedule, and checkpoints
# chosen by classification, because boxes may not be there; see docs/datasets.md.
_base_ = [
    '../datasets/folder.py',
    '../schedules/adamw-cosine_12e.py',
    '../default_runtime.py',
]

train_dataloader = dict(batch_size=32)
train_cfg = dict(val_interval=1)
val_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam', 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(save_best='Top-1_Cls', rule='greater'))
