# Ours: the reference has no runnable Conformer on ILSVRC. The model of its CUB config, DeiT-S's recipe.
_base_ = ['../_base_/models/conformer-s.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(
        type='SCMHead',
        num_classes=1000,
        conv_channels=1024,
        conv_init='kaiming',
        iterations=(4, 4, 4, 4),
        calibrate_test_logits=True,
    )
)
