# SCM in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32.
_base_ = ['../_base_/models/vit-t.py', '../_base_/settings/cub40.py']

model = dict(head=dict(type='SCMHead', num_classes=40))

val_evaluator = dict(type='LocalizationMetric', protocols=['scm', 'maxboxacc', 'maxboxacc_v2', 'ts_cam'])
test_evaluator = val_evaluator
default_hooks = dict(checkpoint=dict(save_best='scm/GT-Known_top-1'))
