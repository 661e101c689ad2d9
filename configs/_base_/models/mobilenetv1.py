# MobileNet v1 with maps of a sixteenth of the image's sides. ImageNet weights: a file with the names
# model.0.0.weight, ..., fc.weight, such as mobilenet_v1_with_relu_69_5.pth, has to be fetched by hand.
model = dict(
    type='ImageLocalizer',
    pretrained='data/weights/mobilenet_v1_with_relu_69_5.pth',
    backbone=dict(type='MobileNetV1'),
    head=dict(in_channels=1024),
)
