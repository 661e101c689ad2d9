# Everything of CATR on ILSVRC but the model.
_base_ = [
    '../../_base_/datasets/ilsvrc-deit-aug.py',
    '../../_base_/schedules/adamw-late-cosine_14e.py',
    '../../_base_/default_runtime.py',
]

# The reference trains with 128 images on each of 4 GPUs. Two losses depend on the images per GPU: the area
# loss is a sum over them, and the map loss compares all of them in pairs. So keep 128 per GPU where memory
# allows it, and on other numbers of GPUs pass --auto-scale-lr.
train_dataloader = dict(
    batch_size=128,
    num_workers=10,
    # The reference is always in distributed mode: on a single GPU, too, every epoch has its own permutation.
    sampler=dict(reshuffle_single_process=True),
)
val_dataloader = dict(batch_size=192)
test_dataloader = dict(batch_size=192)
auto_scale_lr = dict(base_batch_size=512)

# CSM and OCM are larger than on CUB.
modules = dict(csm=dict(base_channels=256), ocm=dict(num_layers=10, area_loss=dict(ratio=0.1)))

# CDTR's evaluation at another threshold. After training, the reference searches it on the test images:
# thresholds=[i / 100 for i in range(2, 21)], threshold_choice='top1'
protocol = dict(name='cdtr', alias='catr', thresholds=[0.15])
val_evaluator = dict(type='LocalizationMetric', protocols=[protocol], tuned_on='ilsvrc')
test_evaluator = val_evaluator
default_hooks = dict(
    # Validation runs once, so the best checkpoint is the last one. CATR counts the predicted class's map.
    checkpoint=dict(save_best='catr/GT-known_Loc_predicted', rule='greater'),
    visualization=dict(protocol=protocol),
)
# Drop-path draws differently on every GPU.
randomness = dict(seed=0, diff_rank_seed=True)
