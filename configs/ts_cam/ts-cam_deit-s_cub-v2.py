# As ts-cam_deit-s_cub.py, but checkpoint and threshold are chosen on CUBV2, not on the test images.
# 1. train; 2. tools/test.py on the validation split writes the threshold; 3. the test split takes it:
#   python tools/test.py CONFIG CHECKPOINT --split val --out val.json
#   python tools/test.py CONFIG CHECKPOINT --cfg-options test_evaluator.thresholds_from=val.json
_base_ = ['../_base_/models/deit-s.py', '../_base_/datasets/cub-v2.py', './_base_/cub.py']

model = dict(head=dict(type='TSCAMHead', num_classes=200))

val_dataloader = dict(dataset=dict(_delete_=True, **_base_.cub_v2, pipeline=_base_.squash_224))
val_evaluator = dict(protocols=['maxboxacc', 'maxboxacc_v2'])
test_evaluator = dict(protocols=['maxboxacc', 'maxboxacc_v2'])
default_hooks = dict(checkpoint=dict(save_best='maxboxacc_v2/MaxBoxAccV2'))
