import torch

from dbaf.evaluation.perceptual import PerceptualNet
from dbaf.evaluation.recogniser import JUDGES
from dbaf.weights.bundle import bundle_folder, load_part


@torch.no_grad()
def test_a_larger_change_is_further_away(portrait: torch.Tensor) -> None:
    net = PerceptualNet()
    net.load_state_dict(load_part(bundle_folder(JUDGES), "perceptual")[0])
    net.eval()
    face = torch.nn.functional.interpolate(portrait, size=128, mode="bilinear", antialias=True)
    noise = torch.randn(face.shape, generator=torch.Generator().manual_seed(0))
    distances = [float(net.distance(face, (face + amount * noise).clamp(-1, 1))) for amount in (0, 0.1, 0.4)]
    assert abs(distances[0]) < 1e-5
    assert distances[0] + 0.01 < distances[1] < distances[2] < 2
