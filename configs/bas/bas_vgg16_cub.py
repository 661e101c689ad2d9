_base_ = ['./_base_/vgg16.py', './_base_/cub.py']

# The map is the mean of those of the 80 best classes.
model = dict(
    head=dict(num_classes=200, map_classes=80, guidance_weight=0.0, background_loss=dict(area_weight=0.7))
)
