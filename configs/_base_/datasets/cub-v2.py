# CUBV2 (Choe et al., CVPR 2020): 1,000 photographs of Flickr with boxes, to choose thresholds on, so that the
# test split of CUB-200-2011 is only tested on. The images lie in data/CUBV2/images, wsolevaluation's text
# files in data/CUBV2/metadata. A config that has a data set already adds this one with
# val_dataloader = dict(dataset=dict(_delete_=True, **_base_.cub_v2, pipeline=_base_.squash_224))
cub_v2 = dict(
    type='WSOLMetadataDataset',
    data_root='data/CUBV2',
    data_prefix='images',
    metadata_dir='metadata',
    num_classes=200,
    test_mode=True,
)
