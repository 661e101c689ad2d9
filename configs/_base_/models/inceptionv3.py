# Inception v3 up to Mixed_6e: maps of a sixteenth of the image's sides. ImageNet weights of torchvision.
model = dict(
    type='ImageLocalizer',
    pretrained='https://download.pytorch.org/models/inception_v3_google-1a9a5a14.pth',
    backbone=dict(type='InceptionV3'),
    head=dict(in_channels=768),
)
