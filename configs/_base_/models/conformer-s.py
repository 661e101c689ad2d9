# Conformer-S/16, ImageNet-1k weights.
model = dict(
    type='ImageLocalizer',
    pretrained='https://download.openmmlab.com/mmclassification/v0/conformer/'
    'conformer-small-p16_3rdparty_8xb128_in1k_20211206-3065dcf5.pth',
    backbone=dict(type='TokenConformer', arch='small', drop_path_rate=0.1),
    head=dict(in_channels=384),
)
