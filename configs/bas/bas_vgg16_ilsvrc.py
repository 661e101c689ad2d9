_base_ = ['./_base_/vgg16.py', './_base_/ilsvrc.py']

model = dict(
    head=dict(num_classes=1000, guidance_weight=0.05, background_loss=dict(area_weight=1.0, keep_equal=True))
)
