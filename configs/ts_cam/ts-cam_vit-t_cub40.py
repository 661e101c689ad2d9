# The first 40 classes of CUB (1,200 training images) on a CPU in minutes: ViT-T, 12 epochs, batch 32.
_base_ = [
    '../_base_/models/vit-t.py',
    '../_base_/datasets/cub.py',
    '../_base_/schedules/adamw-cosine_12e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(type='TSCAMHead', num_classes=40, in_channels=192, cal_acc=True))

train_dataloader = dict(batch_size=32, num_workers=2, dataset=dict(data_root='data/CUB_200_2011_40'))
val_dataloader = dict(num_workers=2, dataset=dict(data_root='data/CUB_200_2011_40'))
test_dataloader = dict(num_workers=2, dataset=dict(data_root='data/CUB_200_2011_40'))

val_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam', 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(
    logger=dict(interval=10),
    checkpoint=dict(save_best='ts_cam/GT-known_Loc', rule='greater'),
)
