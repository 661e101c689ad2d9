# As trilite_dinov2-s_cub.py, with the published selection: regions and classifier are chosen separately on
# CUBV2, by its boxes and labels, and training stops by them. The result is best_parts.pth.
_base_ = ['../_base_/datasets/cub-v2.py', './trilite_dinov2-s_cub.py']

val_dataloader = dict(dataset=dict(_delete_=True, **_base_.cub_v2, pipeline=_base_.squash_224))
val_evaluator = dict(protocols=['maxboxacc'])
train_cfg = dict(val_interval=1)
custom_hooks = [
    dict(type='MapGuardHook'),
    dict(
        type='BestPartsHook',
        parts={
            'maxboxacc/MaxBoxAcc_agnostic': ('head.regions.', 'head.patch_classifier.'),
            'Top-1_Cls': ('head.classifier.',),
        },
    ),
]
