# In the common small setting; a linear probe at AdamW 1e-3. Of a supervised network the tokens say more than
# the keys; at this threshold the masks fill 0.3 of the training images.
_base_ = ['../_base_/models/vit-t-frozen.py', '../_base_/settings/frozen_cub40.py']

model = dict(head=dict(type='GraphCutHead', num_classes=40, features='tokens', threshold=0.75, as_mask=True))
optim_wrapper = dict(optimizer=dict(lr=1e-3))
test_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(
    checkpoint=dict(save_best='Top-1_Cls'), visualization=dict(protocol='maxboxacc', threshold=0.5)
)
