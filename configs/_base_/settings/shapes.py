# Drawn images, a small ViT from scratch, minutes on a CPU: everything but the head. It shows that a method
# runs and what its maps look like; nothing about how good it is.
_base_ = [
    '../models/vit-micro.py',
    '../datasets/shapes.py',
    '../schedules/adamw-scratch_8e.py',
    '../default_runtime.py',
]

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc'])
test_evaluator = val_evaluator
default_hooks = dict(
    logger=dict(interval=15),
    checkpoint=dict(save_best='maxboxacc/MaxBoxAcc', rule='greater'),
    visualization=dict(protocol='maxboxacc', threshold=0.45),
)
