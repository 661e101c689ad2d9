_base_ = ['./_base_/inceptionv3.py', './_base_/cub.py']

# The map is the mean of those of all classes.
model = dict(
    head=dict(num_classes=200, map_classes=None, guidance_weight=0.5, background_loss=dict(area_weight=1.0))
)
val_evaluator = dict(protocols=[dict(name='bas', thresholds=[0.1])])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol=dict(thresholds=[0.1])))
