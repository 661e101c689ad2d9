# The first 40 classes of CUB (1,200 training images) on a CPU in minutes: the common setting in which small
# models of all methods are compared. 12 epochs, batch 32, AdamW 1e-4 with a cosine; everything but the model
# and the test's evaluator.
_base_ = [
    '../datasets/cub.py',
    '../schedules/adamw-cosine_12e.py',
    '../default_runtime.py',
]

train_dataloader = dict(batch_size=32, num_workers=2, dataset=dict(data_root='data/CUB_200_2011_40'))
val_dataloader = dict(num_workers=2, dataset=dict(data_root='data/CUB_200_2011_40'))
test_dataloader = dict(num_workers=2, dataset=dict(data_root='data/CUB_200_2011_40'))

# Validation sees the whole squashed image, whatever the method tests on.
val_evaluator = dict(type='LocalizationMetric', protocols=['maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(
    logger=dict(interval=10), checkpoint=dict(save_best='maxboxacc/MaxBoxAcc', rule='greater')
)
