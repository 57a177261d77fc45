"""The networks of face-api.js, which training takes and nothing ships, with random weights in their file format."""

import json
from pathlib import Path

import pytest
import torch

from dbaf.errors import WeightsError
from dbaf.training.faceapi import AgeSexNet, ExpressionFeatures

KINDS = [ExpressionFeatures, AgeSexNet]


def manifest(path: Path, tensors: list[torch.Tensor]) -> Path:
    """A tfjs weights manifest with its .bin; kernels in TensorFlow's layout, scaled down so that nothing overflows."""
    entries, data = [], b""
    for number, tensor in enumerate(tensors):
        if tensor.dim() == 4:  # depthwise ones are [h, w, channels, 1], others [h, w, in, out]
            depthwise = tensor.shape[1] == 1
            tensor = tensor.permute(2, 3, 0, 1) if depthwise else tensor.permute(2, 3, 1, 0)
        elif tensor.dim() == 2:
            tensor = tensor.T
        entries.append({"name": f"w{number}", "shape": list(tensor.shape), "dtype": "float32"})
        data += tensor.contiguous().numpy().tobytes()
    path.with_suffix(".bin").write_bytes(data)
    path.write_text(json.dumps([{"weights": entries, "paths": [path.with_suffix(".bin").name]}]))
    return path


@pytest.mark.parametrize("kind", KINDS)
def test_weights_arrive_where_they_belong(kind: type[ExpressionFeatures] | type[AgeSexNet], tmp_path: Path) -> None:
    torch.manual_seed(0)
    source = kind().eval()
    file = manifest(tmp_path / "weights.json", [p.detach() for p in source.parameters()])
    loaded = kind.from_tfjs(file)
    crops = torch.rand(2, 3, 128, 128) * 2 - 1
    with torch.no_grad():
        for one, other in zip(source(crops), loaded(crops), strict=True):
            assert len(one) == 2
            torch.testing.assert_close(one, other)
    assert not any(p.requires_grad for p in loaded.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_another_network_is_named(kind: type[ExpressionFeatures] | type[AgeSexNet], tmp_path: Path) -> None:
    file = manifest(tmp_path / "weights.json", [torch.zeros(3, 3)])
    with pytest.raises(WeightsError, match=r"weights\.json"):
        kind.from_tfjs(file)
    with pytest.raises(WeightsError, match=r"nothing\.json"):
        kind.from_tfjs(tmp_path / "nothing.json")


def test_expressions_carry_gradients_into_the_picture() -> None:
    crops = (torch.rand(1, 3, 128, 128) * 2 - 1).requires_grad_()
    ExpressionFeatures().requires_grad_(False)(crops)[0].sum().backward()
    assert crops.grad is not None
    assert crops.grad.abs().sum() > 0
    assert crops.grad[..., :30, :].abs().sum() == 0  # hair is not looked at
