# As ilsvrc.py, with ImageNetV2 (threshold 0.7, boxes by Choe et al., CVPR 2020) for validation: 10,000 images
# on which thresholds are chosen. Images lie in data/ImageNetV2/val2/<label>/, wsolevaluation's text files in
# data/ImageNetV2/metadata.
_base_ = './ilsvrc.py'

val_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='WSOLMetadataDataset',
        data_root='data/ImageNetV2',
        metadata_dir='metadata',
        num_classes=1000,
        test_mode=True,
        pipeline={{_base_.test_pipeline}},
    ),
)
