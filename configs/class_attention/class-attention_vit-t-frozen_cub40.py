# In the common small setting; a linear probe at AdamW 1e-3.
_base_ = ['../_base_/models/vit-t-frozen.py', '../_base_/settings/frozen_cub40.py']

model = dict(head=dict(type='ClassAttentionHead', num_classes=40))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
test_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(
    checkpoint=dict(save_best='Top-1_Cls'), visualization=dict(protocol='maxboxacc', threshold=0.3)
)
