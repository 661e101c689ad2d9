# Everything of TokenCut but the model and the data: nothing but the linear classifier of the class token is
# trained.
_base_ = ['../../_base_/schedules/adamw-cosine_12e.py', '../../_base_/default_runtime.py']

val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = val_evaluator
default_hooks = dict(
    # The map needs no training: the classifier is chosen.
    checkpoint=dict(save_best='Top-1_Cls', rule='greater'),
    visualization=dict(protocol='maxboxacc', threshold=0.5),
)
