_base_ = ['./_base_/resnet50.py', './_base_/cub.py']

# The map is the mean of those of all classes.
model = dict(
    head=dict(num_classes=200, map_classes=None, guidance_weight=0.5, background_loss=dict(area_weight=1.2))
)
