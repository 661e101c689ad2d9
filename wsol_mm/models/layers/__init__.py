"""Pieces of which backbones and heads are made, each usable alone."""

from .attention_dropout import AttentionDropout
from .attention_rollout import attention_rollout, rollout_map, rollout_row
from .back_ends import InceptionBackEnd, MobileNetBackEnd, ResNetBackEnd, VGGBackEnd
from .background_discovery import Background, background_discovery
from .bilateral_refinement import BilateralRefinement
from .box_masks import box_masks
from .category_stimulation import CategoryStimulation
from .class_attention import class_token_attention
from .cue_digging import CueDigging
from .deformable_conv import deform_conv2d
from .depthwise_separable import depthwise_separable
from .gaussian_filter import GaussianFilter, gaussian_kernel
from .graph_cut import GraphCut, lost, maskcut, normalized_cut, tokencut
from .graph_diffusion import graph_diffusion
from .grid_graph import GridGraph, grid_graph, grid_laplacian, neighbour_similarity
from .hidden_convs import conv_relu, hidden_convs
from .object_constraint import ObjectConstraint
from .per_sample_conv import per_sample_conv
from .pseudo_masks import AttentionMasks, BackgroundMasks, PseudoMasks, SavedMapMasks
from .region_disentanglement import RegionDisentanglement, region_features, region_probabilities
from .relational_patch_attention import (
    RelationalAttention,
    RelationalEncoderLayer,
    propagate_class_row,
    relational_patch_attention,
    relational_patch_maps,
)
from .scaled_maps import scaled_maps
from .self_self_attention import self_self_attention
from .semantic_conv import SemanticConv
from .semantic_kernel_integrator import SemanticKernelIntegrator
from .spatial_calibration import SpatialCalibration, SpatialCalibrationLayer, min_max
from .spatial_query_attention import (
    SpatialQueryAttention,
    SpatialQueryEncoderLayer,
    fused_spatial_mask,
)
from .token_attention import TokenAttention
from .token_encoder_layer import TokenEncoderLayer, init_transformer_weights

__all__ = [
    'AttentionDropout',
    'AttentionMasks',
    'Background',
    'BackgroundMasks',
    'BilateralRefinement',
    'CategoryStimulation',
    'CueDigging',
    'GaussianFilter',
    'GraphCut',
    'GridGraph',
    'InceptionBackEnd',
    'MobileNetBackEnd',
    'ObjectConstraint',
    'PseudoMasks',
    'RegionDisentanglement',
    'RelationalAttention',
    'RelationalEncoderLayer',
    'ResNetBackEnd',
    'SavedMapMasks',
    'SemanticConv',
    'SemanticKernelIntegrator',
    'SpatialCalibration',
    'SpatialCalibrationLayer',
    'SpatialQueryAttention',
    'SpatialQueryEncoderLayer',
    'TokenAttention',
    'TokenEncoderLayer',
    'VGGBackEnd',
    'attention_rollout',
    'background_discovery',
    'box_masks',
    'class_token_attention',
    'conv_relu',
    'deform_conv2d',
    'depthwise_separable',
    'fused_spatial_mask',
    'gaussian_kernel',
    'graph_diffusion',
    'grid_graph',
    'grid_laplacian',
    'hidden_convs',
    'init_transformer_weights',
    'lost',
    'maskcut',
    'min_max',
    'neighbour_similarity',
    'normalized_cut',
    'per_sample_conv',
    'propagate_class_row',
    'region_features',
    'region_probabilities',
    'relational_patch_attention',
    'relational_patch_maps',
    'rollout_map',
    'rollout_row',
    'scaled_maps',
    'self_self_attention',
    'tokencut',
]
