"""What a face looks like to networks that see sex, age, glasses and expressions: labels for KRIA's fit.

Glasses are read by a ridge regression on MobileNetV2's features of the strip with the eyes, in `glasses.safetensors`:
of 400 generated faces, anonymized by an earlier KRIA, each strip was labelled by eye (0 no glasses, 1 traces, 2
glasses). In cross-validation it ranks a face with traces above one without in .95 of the pairs.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from dbaf.encoders.mobilenet import MobileNetV2
from dbaf.training.encoder import start_from_imagenet
from dbaf.training.faceapi import AgeSexNet, ExpressionFeatures
from dbaf.training.photos import scaled

EXPRESSIONS = ("neutral", "happy", "sad", "angry", "fearful", "disgusted", "surprised")
LOOKS = ("man", "age", "glasses", *EXPRESSIONS)
STRIP = (slice(82, 174), slice(36, 220))  # rows and columns of the eyes in an FFHQ crop of 256 px
SURE = 0.99  # the largest probability of a sex that counts
BATCH = 25
YEARS = 20.0  # of age, count as one


class Looks:
    """Labels of pictures.

    Args:
        agesex, expressions: manifests of face-api.js, see `dbaf.training.faceapi`.
        backbone: torchvision MobileNetV2 state dict.
    """

    def __init__(self, agesex: Path, expressions: Path, backbone: Path) -> None:
        self.agesex = AgeSexNet.from_tfjs(agesex)
        self.expressions = ExpressionFeatures.from_tfjs(expressions)
        self.backbone = MobileNetV2().eval().requires_grad_(False)
        start_from_imagenet(self.backbone, backbone)
        self.glasses = load_file(Path(__file__).with_name("glasses.safetensors"))

    @torch.inference_mode()
    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        """FFHQ crops [N, 3, 256, 256] uint8 -> [N, len(LOOKS)].

        The log odds of looking like a man, age in YEARS, glasses from 0 to 2, and the logits of expressions. Sex, age
        and expression are means over a face and its mirror image.
        """
        return torch.cat([self._label(scaled(part)) for part in pictures.split(BATCH)]).clone()

    def _label(self, crops: torch.Tensor) -> torch.Tensor:
        both = torch.cat([crops, crops.flip(3)])
        age, man = (values.view(2, -1).mean(0) for values in self.agesex(both))
        feelings = self.expressions(both)[1].view(2, len(crops), -1).mean(0)
        glasses = strip_features(self.backbone, crops) @ self.glasses["weights"] + self.glasses["bias"]
        odds = man.clamp(1 - SURE, SURE).logit()
        return torch.cat([torch.stack([odds, age / YEARS, glasses], 1), feelings], 1)


def strip_features(backbone: MobileNetV2, crops: torch.Tensor) -> torch.Tensor:
    """What the backbone sees around the eyes of FFHQ crops [B, 3, 256, 256] in [-1, 1]: [B, 3648]."""
    strip = F.interpolate(crops[:, :, *STRIP], scale_factor=2, mode="bilinear")
    maps = backbone(strip)
    fine, coarse = F.adaptive_max_pool2d(maps[8], (3, 6)), F.adaptive_avg_pool2d(maps[16], (4, 8))
    return torch.cat([fine.flatten(1), coarse.flatten(1)], 1)
