_base_ = ['../_base_/models/conformer-s.py', '../_base_/recipes/ts-cam_cub.py']

model = dict(
    head=dict(
        type='TSCAMHead',
        num_classes=200,
        in_channels=384,
        conv_channels=1024,
        conv_init='kaiming',
        cal_acc=True,
    )
)
