# VGG16 without its last pool: maps of a sixteenth of the image's sides. ImageNet weights of torchvision.
model = dict(
    type='ImageLocalizer',
    pretrained='https://download.pytorch.org/models/vgg16-397923af.pth',
    backbone=dict(type='VGG16'),
    head=dict(in_channels=512),
)
