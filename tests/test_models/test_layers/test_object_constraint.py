"""Tests of wsol_mm.models.layers.object_constraint."""

from wsol_mm.models.layers import ObjectConstraint

import torch
import torch.nn.functional as F


def test_formulas():
    layers, heads = 3, 2
    ocm = ObjectConstraint(layers, heads).double().train()
    for parameter in ocm.parameters():
        parameter.data.normal_(std=0.5)
    attention = torch.rand(4, layers, heads, 5, 6, dtype=torch.float64)
    branches = []
    for layer in range(layers):
        mixed = torch.einsum('h,bhij->bij', ocm.branch_conv.weight[layer, :, 0, 0], attention[:, layer])
        mixed = (mixed - mixed.mean()) / (mixed.var(correction=0) + 1e-5).sqrt()
        mixed = mixed * ocm.branch_norm.weight[layer] + ocm.branch_norm.bias[layer]
        branches.append(torch.where(mixed < 0, 0.01 * mixed, mixed))
    fused = F.conv2d(torch.stack(branches, dim=1), ocm.fuse_conv.weight, padding=1)[:, 0]
    fused = (fused - fused.mean()) / (fused.var(correction=0) + 1e-5).sqrt()
    expected = torch.sigmoid(fused * ocm.fuse_norm.weight + ocm.fuse_norm.bias)
    torch.testing.assert_close(ocm(attention.flatten(1, 2)), expected)


def test_number_of_parameters():
    assert sum(parameter.numel() for parameter in ObjectConstraint(9, 6).parameters()) == 155
    assert sum(parameter.numel() for parameter in ObjectConstraint(10, 6).parameters()) == 172
