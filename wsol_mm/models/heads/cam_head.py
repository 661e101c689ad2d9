"""Heads of CAM: class activation maps (Zhou et al., CVPR 2016)."""

from collections.abc import Sequence
from typing import Any

from wsol_mm.models.layers import SemanticConv, hidden_convs, per_sample_conv
from wsol_mm.models.utils import at_least_float32, autocast_off, network_init
from wsol_mm.models.weights.layouts import (
    INCEPTION_RULE,
    RESNET,
    VGG16_FEATURES,
    Layout,
    vgg16_rules,
)
from wsol_mm.models.weights.official import OfficialCheckpoints
from wsol_mm.registry import MODELS
from wsol_mm.structures import Features

from torch import Tensor, nn

from .localization_head import LocalizationHead

CLASSIFIERS = ('linear', 'conv')

# Layers that the authors' code counts in, and that have no weights, shift the numbers: without a pool
# behind the fourth group (maps of 28x28) and with attention-based dropout.
_VGG_FEATURES = {
    '14x14': VGG16_FEATURES,
    '28x28': (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27),
    'ADL, 14x14': (0, 2, 5, 7, 10, 12, 14, 18, 20, 22, 26, 28, 30),
    'ADL, 28x28': (0, 2, 5, 7, 10, 12, 14, 18, 20, 22, 25, 27, 29),
}
VGG_CAM = tuple(
    Layout(
        name=f'WSOL benchmark, VGG16-CAM ({size})',
        markers=(r'conv6\.weight', *(rf'features\.{index}\.weight' for index in indices)),
        rules=(
            *vgg16_rules(indices),
            (r'conv6\.(weight|bias)', r'head.convs.0.0.\1'),
            (r'fc\.(weight|bias)', r'head.fc.\1'),
        ),
    )
    for size, indices in _VGG_FEATURES.items()
)
RESNET_ADL = Layout(
    name='WSOL benchmark, ResNet-50-ADL (layer4.3.conv1.weight)',
    markers=(*RESNET.markers, r'layer4\.3\.conv1\.weight'),
    rules=(
        *(
            (rf'layer{stage}\.{theirs}\.(.+)', rf'backbone.layer{stage}.{ours}.\1')
            for stage, blocks in ((3, (0, 2, 3, 4, 5, 6)), (4, (0, 2, 3)))
            for ours, theirs in enumerate(blocks)
        ),
        *RESNET.rules,
    ),
)
INCEPTION_CAM = Layout(
    name='WSOL benchmark, Inception-v3-CAM (SPG_A3_1b.0.weight, ...)',
    markers=(r'SPG_A3_1b\.0\.weight', r'SPG_A4\.weight'),
    rules=(
        INCEPTION_RULE,
        (r'SPG_A3_1b\.0\.(weight|bias)', r'head.convs.0.0.\1'),
        (r'SPG_A3_2b\.0\.(weight|bias)', r'head.convs.1.0.\1'),
        (r'SPG_A4\.(weight|bias)', r'head.semantic_conv.\1'),
    ),
)


@MODELS.register_module()
class CAMHead(LocalizationHead):
    """A classifier of pooled convolutional features, whose weights turn the features into class maps.

    Convolutions 3x3 with ReLU may come before it. A linear classifier has the logits ``fc(mean of G)`` of the
    last features G, (B, D, h, w), and the map of class c is the *mean* over the channels of w_c * G, without
    bias. A convolutional one makes class maps M by a 1x1 convolution; they are the localization maps, and
    their means the logits. Only the maps of wanted classes are ever computed.

    Args:
        num_classes: Number of classes C.
        in_channels: Channels of the feature map.
        hidden_channels: Channels of the convolutions before the classifier. The reference has (1024,) on
            VGG16, none on ResNet-50 and (1024, 1024) on Inception v3.
        dropout: Of the input of every convolution and of the classifier; 0.5 on Inception v3.
        classifier: ``'linear'``, or ``'conv'`` as on Inception v3.
        conv_init: Initialisation, see :func:`~wsol_mm.models.utils.network_init`.
        **kwargs: Further arguments of :class:`LocalizationHead`.

    Raises:
        ValueError: If ``classifier`` or ``conv_init`` is unknown.
    """

    official = OfficialCheckpoints(
        'cam', layouts=(RESNET_ADL, *VGG_CAM, INCEPTION_CAM, RESNET), also=('adl', 'cutmix', 'has')
    )

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        hidden_channels: Sequence[int] = (1024,),
        dropout: float = 0.0,
        classifier: str = 'linear',
        conv_init: str = 'kaiming',
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, in_channels, **{'init_cfg': network_init(conv_init), **kwargs})
        if classifier not in CLASSIFIERS:
            raise ValueError(f'classifier: expected one of {CLASSIFIERS}, got {classifier!r}')
        self.convs = hidden_convs(in_channels, hidden_channels)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        channels = (in_channels, *hidden_channels)[-1]
        self.fc = nn.Linear(channels, num_classes) if classifier == 'linear' else None
        # The classifier of a pretrained network is linear, too.
        self.inherits_classifier = self.fc is not None
        if self.fc is None:
            self.semantic_conv = SemanticConv(channels, num_classes, kernel_size=1)

    def pretrained_target(self, name: str) -> str:
        """Return where a pretrained weight goes: a classifier's to the linear one, if there is one."""
        return name if self.fc is None else name.replace('head.semantic_conv.', 'head.fc.')

    def hidden(self, feats: Features) -> Tensor:
        """Return the features G that are classified, (B, D, h, w)."""
        x = feats.extras.get('hidden')
        if x is not None:
            return x
        x = feats.feature_map
        for conv in self.convs:
            x = conv(self.dropout(x))
        return self.dropout(x)

    def prepare(self, feats: Features) -> Features:
        """Return the features with those that are classified."""
        return feats.with_extras(hidden=self.hidden(feats))

    def forward(self, feats: Features) -> Tensor:
        """Return the logits, (B, C)."""
        x = self.hidden(feats)
        return self.semantic_conv.pooled(x) if self.fc is None else self.fc(x.mean(dim=(2, 3)))

    def localization_maps(self, feats: Features, labels: Tensor) -> Tensor:
        """Return the maps of the wanted classes, (B, K, h, w), in float32 or better."""
        x = self.hidden(feats)
        if self.fc is None:
            return self.semantic_conv.class_maps(x, labels)
        with autocast_off(x):
            x = at_least_float32(x)
            rows = self.fc.weight[labels].to(x.dtype)
            return per_sample_conv(x, rows[..., None, None]) / x.shape[1]
