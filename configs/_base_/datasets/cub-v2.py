# As cub.py, with CUBV2 (Choe et al., CVPR 2020) for validation: 1,000 photographs of Flickr with boxes, on
# which thresholds are chosen, so that the test split of CUB-200-2011 is only tested on. The images lie in
# data/CUBV2/images, wsolevaluation's text files in data/CUBV2/metadata.
_base_ = './cub.py'

val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='WSOLMetadataDataset',
        data_root='data/CUBV2',
        data_prefix='images',
        metadata_dir='metadata',
        num_classes=200,
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
