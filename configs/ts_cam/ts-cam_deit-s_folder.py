# TS-CAM on a folder of one's own images: data/my_images/train/<class>/*.jpg and val/<class>/*.jpg.
# Set model.head.num_classes to the number of classes; see docs/datasets.md.
_base_ = [
    '../_base_/models/deit-s.py',
    '../_base_/datasets/folder.py',
    '../_base_/schedules/adamw-cosine_12e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(type='TSCAMHead', num_classes=2, in_channels=384, cal_acc=True))
train_dataloader = dict(batch_size=32)
train_cfg = dict(val_interval=1)
val_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam', 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(logger=dict(interval=10), checkpoint=dict(save_best='Top-1_Cls', rule='greater'))
