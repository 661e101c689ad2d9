# The reference states no learning rate for this backbone; DeiT-S's is used. Four Newton-Schulz iterations in
# every layer, and calibrated test logits: model.head.calibrate_test_logits=False drops the latter.
_base_ = ['../_base_/models/conformer-s.py', './_base_/cub.py']

model = dict(
    head=dict(
        type='SCMHead',
        num_classes=200,
        conv_channels=1024,
        conv_init='kaiming',
        iterations=(4, 4, 4, 4),
        calibrate_test_logits=True,
    )
)
