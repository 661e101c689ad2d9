# Everything of CDTR on ILSVRC but the model.
_base_ = [
    '../../_base_/datasets/ilsvrc-deit-aug.py',
    '../../_base_/schedules/adamw-late-cosine_14e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 64 images on each of 4 GPUs. Two losses depend on the images per GPU: the area
# loss is a sum over them, and the map loss compares all of them in pairs. So keep 64 per GPU where memory
# allows it, and on other numbers of GPUs pass --auto-scale-lr.
train_dataloader = dict(
    batch_size=64,
    num_workers=10,
    # The reference is always in distributed mode: on a single GPU, too, every epoch has its own permutation.
    sampler=dict(reshuffle_single_process=True),
)
val_dataloader = dict(batch_size=192)
test_dataloader = dict(batch_size=192)
auto_scale_lr = dict(base_batch_size=256)
# The highest rate reached is 2e-4, in the sixth epoch.
optim_wrapper = dict(optimizer=dict(lr=2.5e-4))

# CSM and OCM are larger than on CUB.
modules = dict(
    csm=dict(base_channels=256),
    ocm=dict(num_layers=10, area_loss=dict(ratio=0.1)),
    sba=dict(loss_weight=0.01, normalize_map=True),
)

val_evaluator = dict(type='LocalizationMetric', protocols=['cdtr'], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(
    # Validation runs once, so the best checkpoint is the last one. CDTR counts the predicted class's map.
    checkpoint=dict(save_best='cdtr/GT-known_Loc_predicted', rule='greater'),
    visualization=dict(protocol=dict(name='cdtr', tuned_on='ilsvrc')),
)
# CLIP's prompts are about the classes of the training data.
custom_hooks = [dict(type='ClassNamesHook')]
# Drop-path draws differently on every GPU.
randomness = dict(seed=0, diff_rank_seed=True)
