"""The reading of glasses that is shipped for training, on a backbone with random weights: shapes and repeatability."""

import torch
from safetensors.torch import load_file

from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.training import looks


def test_the_shipped_reading_fits_the_features_of_the_eyes() -> None:
    torch.manual_seed(0)
    backbone = MobileNetV2().eval().requires_grad_(False)
    crops = torch.rand(2, 3, 256, 256) * 2 - 1
    features = looks.strip_features(backbone, crops)
    weights = load_file(str(looks.Path(looks.__file__).with_name("glasses.safetensors")))["weights"]
    assert features.shape == (2, len(weights))
    changed = crops.clone()
    changed[:, :, 190:] = 0  # the mouth
    assert torch.equal(looks.strip_features(backbone, changed), features)
    changed[:, :, 100:140] = 0
    assert not torch.equal(looks.strip_features(backbone, changed), features)
