_base_ = ['../_base_/models/deit-s.py', '../_base_/datasets/openimages.py', './_base_/fine-grained.py']

model = dict(
    backbone=dict(type='SpatialTokenTransformer'),
    head=dict(type='SATHead', num_classes=100, area_loss=_base_.area_loss),
)
train_dataloader = dict(batch_size=64)

# The reference names a pixel metric and publishes none; this is wsolevaluation's, on SAT's normalised maps.
# The checkpoint is chosen on the validation split.
val_evaluator = dict(_delete_=True, type='PixelAveragePrecision', protocol='sat')
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='pixel/PxAP'))
