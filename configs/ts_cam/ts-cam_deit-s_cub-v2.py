# As ts-cam_deit-s_cub.py, but checkpoint and threshold are chosen on CUBV2, not on the test images.
# 1. train; 2. tools/test.py on the validation split writes the threshold; 3. the test split takes it:
#   python tools/test.py CONFIG CHECKPOINT --split val --out val.json
#   python tools/test.py CONFIG CHECKPOINT --cfg-options test_evaluator.thresholds_from=val.json
_base_ = ['../_base_/models/deit-s.py', '../_base_/recipes/ts-cam_cub.py']

model = dict(head=dict(type='TSCAMHead', num_classes=200, in_channels=384, cal_acc=True))

# The same as in _base_/datasets/cub-v2.py
val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='WSOLMetadataDataset',
        data_root='data/CUBV2',
        data_prefix='images',
        metadata_dir='metadata',
        num_classes=200,
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
val_evaluator = dict(protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = dict(protocols=['maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(checkpoint=dict(save_best='maxboxacc_v2/MaxBoxAccV2'))
