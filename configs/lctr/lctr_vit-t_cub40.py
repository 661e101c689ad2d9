# LCTR in the common small setting: the first 40 classes of CUB, ViT-T, 12 epochs, batch 32.
_base_ = ['../_base_/models/vit-t.py', '../_base_/recipes/cub40.py']

model = dict(head=dict(type='LCTRHead', num_classes=40, in_channels=192, cal_acc=True))

val_evaluator = dict(type='LocalizationMetric', protocols=['lctr', 'maxboxacc', 'maxboxacc_v2', 'ts_cam'])
test_evaluator = val_evaluator
# LCTR counts the map of the predicted class.
default_hooks = dict(
    checkpoint=dict(save_best='lctr/GT-known_Loc_predicted'), visualization=dict(protocol='lctr')
)
