"""Layers of our own, against torch's."""

import pytest
import torch
from torch import nn

from deepfusion.networks.models.depthwise import DepthwiseConv2d
from deepfusion.networks.models.sface import PReLU, PReLUFunction, SFace, SFaceTrunk


def drawn(*shape, dtype=torch.float32):
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0))


def twins(slopes):
    ours, theirs = PReLU(len(slopes)), nn.PReLU(len(slopes))
    for layer in (ours, theirs):
        layer.weight.data.copy_(slopes)
    return ours, theirs


SLOPES = torch.tensor([0.25, -0.7, 0.0, 1.8])


def test_prelu_gradient_by_finite_differences():
    x = drawn(2, 4, 3, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(PReLUFunction.apply, (x, SLOPES.double().requires_grad_()))


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("order", [torch.contiguous_format, torch.channels_last])
def test_prelu_equals_torchs(frozen, order):
    made = []
    for function in (PReLUFunction.apply, nn.functional.prelu):
        slopes = SLOPES.clone().requires_grad_(not frozen)
        start = drawn(2, 4, 6, 5)
        start[0, :, 0, :2] = 0  # the corner of the function
        start.requires_grad_()
        y = function(start.contiguous(memory_format=order), slopes)
        (y * drawn(2, 4, 6, 5).flip(0)).sum().backward()
        made.append((y.detach(), start.grad, slopes.grad))
    for ours, theirs in zip(*made, strict=True):
        if frozen and theirs is None:
            assert ours is None
        else:
            torch.testing.assert_close(ours, theirs)
    assert (made[0][2] is None) == frozen


def test_prelu_under_autocast():
    made = []
    for layer in twins(SLOPES):
        x = drawn(2, 4, 6, 5).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16):
            y = layer(nn.functional.conv2d(x, torch.eye(4)[:, :, None, None]))
        assert y.dtype == torch.bfloat16
        y.float().square().sum().backward()
        assert layer.weight.grad.dtype == torch.float32
        made.append((y.detach(), x.grad, layer.weight.grad))
    for ours, theirs in zip(*made, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0.02, atol=0.02 * float(theirs.abs().max()))


@pytest.mark.parametrize("autocast", [False, True])
@pytest.mark.parametrize(("stride", "padding", "bias"), [(1, 1, True), (2, 1, False), (2, 0, True)])
def test_depthwise_equals_a_grouped_convolution(stride, padding, bias, autocast):
    ours = DepthwiseConv2d(6, stride=stride, padding=padding, bias=bias)
    theirs = nn.Conv2d(6, 6, 3, stride=stride, padding=padding, bias=bias, groups=6)
    theirs.load_state_dict(ours.state_dict())
    made = []
    for layer, reduced in ((ours, autocast), (theirs, False)):
        x = drawn(3, 6, 9, 8).requires_grad_()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            y = layer(x.bfloat16() if reduced else x)
        y.float().square().sum().backward()
        made.append([y.detach().float(), x.grad, *(value.grad for value in layer.parameters())])
    assert len(made[0]) == 3 + bias
    for one, other in zip(*made, strict=True):
        assert one.dtype == torch.float32 and other.abs().max() > 0
        near = 0.03 if autocast else 1e-5
        torch.testing.assert_close(one, other, rtol=0, atol=near * float(other.abs().max()))


def test_depthwise_with_a_stride_computes_in_float32():
    layer = DepthwiseConv2d(6, stride=2, padding=1)
    x = drawn(1, 6, 8, 8)
    with torch.autocast("cpu", torch.bfloat16):
        reduced = layer(x)
    assert reduced.dtype == torch.float32
    assert torch.equal(reduced, layer(x))


def test_trunk_of_an_sface_in_training_and_of_other_statistics():
    torch.manual_seed(0)
    net = SFace()
    for layer in net.layers.values():
        layer.batchnorm.running_mean.normal_(0, 0.1)
        layer.batchnorm.running_var.uniform_(0.5, 2)
        layer.batchnorm.weight.data.uniform_(0.5, 2)
        layer.batchnorm.bias.data.normal_(0, 0.1)
    x = torch.rand(1, 3, 32, 32)
    with torch.no_grad():
        wanted = x
        for layer in net.eval().layers.values():
            wanted = layer(wanted)
        wanted = wanted.mean((2, 3))
        found = SFaceTrunk(net.train())(x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=float(1e-4 * wanted.abs().max()))
