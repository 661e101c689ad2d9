# ResNet-50 with maps of a sixteenth of the image's sides, ImageNet weights of torchvision (the first ones).
model = dict(
    type='ImageLocalizer',
    pretrained='https://download.pytorch.org/models/resnet50-19c8e357.pth',
    backbone=dict(type='mmpretrain.ResNet', depth=50, strides=(1, 2, 2, 1)),
    head=dict(in_channels=2048),
)
