# The quickstart (tools/quickstart.sh): a ViT of 0.65 M parameters on drawn images, from scratch, in about a
# minute on two CPU cores.
_base_ = [
    '../_base_/models/vit-micro.py',
    '../_base_/datasets/shapes.py',
    '../_base_/schedules/adamw-scratch_8e.py',
    '../_base_/default_runtime.py',
]

model = dict(head=dict(type='TSCAMHead', num_classes=10))

# TS-CAM's fixed threshold, 0.1, belongs to pretrained DeiT. This one was chosen on pictures of the same kind
# while this config was made.
protocol = dict(name='ts_cam', thresholds=[0.45])
val_evaluator = dict(type='LocalizationMetric', protocols=[protocol, 'maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(
    logger=dict(interval=15),
    checkpoint=dict(save_best='maxboxacc/MaxBoxAcc', rule='greater'),
    visualization=dict(protocol=protocol),
)
