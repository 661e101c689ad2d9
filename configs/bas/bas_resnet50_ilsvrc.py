_base_ = ['./_base_/resnet50.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(num_classes=1000, guidance_weight=1.0, background_loss=dict(area_weight=2.0, keep_equal=True))
)
val_evaluator = dict(protocols=[dict(name='bas', thresholds=[0.45])])
test_evaluator = val_evaluator
default_hooks = dict(visualization=dict(protocol=dict(thresholds=[0.45])))
