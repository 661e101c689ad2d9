_base_ = ['./_base_/mobilenetv1.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(num_classes=1000, guidance_weight=0.5, background_loss=dict(area_weight=1.5, keep_equal=True))
)
