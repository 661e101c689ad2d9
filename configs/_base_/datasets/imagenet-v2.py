# ImageNetV2 (threshold 0.7, boxes by Choe et al., CVPR 2020): 10,000 images to choose thresholds on. They lie
# in data/ImageNetV2/val2/<label>/, wsolevaluation's text files in data/ImageNetV2/metadata. A config that has
# a data set already adds this one with
# val_dataloader = dict(dataset=dict(_delete_=True, **_base_.imagenet_v2, pipeline=_base_.squash_224))
imagenet_v2 = dict(
    type='WSOLMetadataDataset',
    data_root='data/ImageNetV2',
    metadata_dir='metadata',
    num_classes=1000,
    test_mode=True,
)
