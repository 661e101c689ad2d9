_base_ = ['../_base_/models/conformer-s.py', './_base_/cub.py']

model = dict(
    head=dict(type='TSCAMHead', num_classes=200, conv_channels=1024, conv_init='kaiming'),
)
