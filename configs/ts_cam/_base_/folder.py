# Everything of TS-CAM on a folder of one's own images but the model.
_base_ = '../../_base_/settings/folder.py'

val_evaluator = dict(type='LocalizationMetric', protocols=['ts_cam', 'maxboxacc'])
test_evaluator = val_evaluator
