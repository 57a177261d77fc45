"""What is in front of a face is found; a bare face is not."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from dbaf.faces import Face, FaceFinder, crop
from dbaf.faces.mask import inner_mask, reach, to_square
from dbaf.faces.occlusion import SIZE, OcclusionNet, above_brows, around_features
from dbaf.training import occluders
from dbaf.weights.bundle import bundle_folder, load_network


@pytest.fixture(scope="module")
def net() -> OcclusionNet:
    return load_network(bundle_folder("mobile"), "occlusion", OcclusionNet)


@pytest.fixture(scope="module")
def face(portrait: torch.Tensor) -> Face:
    (found,) = FaceFinder.from_bundle(bundle_folder("mobile")).find(portrait)
    return found


@pytest.fixture(scope="module")
def square(portrait: torch.Tensor, face: Face) -> torch.Tensor:
    return crop(portrait, face.quad, SIZE)


@pytest.fixture(scope="module")
def mesh(face: Face) -> torch.Tensor:
    return to_square(face.mesh[:, :2], face.quad).float()


@pytest.fixture(scope="module")
def inside(mesh: torch.Tensor) -> torch.Tensor:
    return inner_mask(reach(mesh)[None], SIZE)


def test_a_bare_face_has_nothing_in_front(net: OcclusionNet, square: torch.Tensor, inside: torch.Tensor) -> None:
    assert net.front(square, inside)[inside > 0.5].mean() < 0.05


@pytest.mark.parametrize("seed", range(4))
def test_a_mask_is_in_front(
    net: OcclusionNet, square: torch.Tensor, mesh: torch.Tensor, inside: torch.Tensor, seed: int
) -> None:
    shape = occluders.mask(mesh.numpy(), np.random.default_rng(seed)).resize((SIZE, SIZE))
    cloth = torch.from_numpy(np.array(shape))[None, None] > 127
    covered = torch.where(cloth, torch.tensor([0.5, 0.6, 0.7])[None, :, None, None], square)
    found, face = net.front(covered, inside), inside > 0.5
    assert found[cloth & face].mean() > 0.9
    assert found[~F.max_pool2d(cloth.float(), 15, 1, 7).bool() & face].mean() < 0.1


def test_what_comes_from_nowhere_is_part_of_the_face(inside: torch.Tensor) -> None:
    class Sure(OcclusionNet):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return torch.where(F.avg_pool2d(pictures[:, :1], 2) > 0, 9.0, -9.0)

    picture = torch.full((1, 3, SIZE, SIZE), -1.0)
    picture[..., 150:170, 120:136] = 1  # a blot within the face
    assert Sure().front(picture, inside).max() == 0
    picture[..., 150:170, :136] = 1  # something that reaches in
    assert Sure().front(picture, inside)[..., 160, 128] == 1


def test_beneath_the_nose_what_is_in_front_must_be_sure_somewhere(inside: torch.Tensor) -> None:
    class Brightness(OcclusionNet):
        def forward(self, pictures: torch.Tensor) -> torch.Tensor:
            return F.avg_pool2d(pictures[:, :1], 2) * 10

    for top, bottom, kept in ((190, 230, 0), (90, 110, 1)):  # a chin, a forehead
        picture = torch.full((1, 3, SIZE, SIZE), -1.0)
        picture[..., top:bottom, :136] = 0.25  # .92
        middle = (top + bottom) // 2
        assert Brightness().front(picture, inside)[..., middle, 128] == kept
        picture[..., middle - 4 : middle + 4, 100:108] = 0.5  # .99
        assert Brightness().front(picture, inside)[..., middle, 128] == 1


def test_one_face_is_seen_alike_in_a_batch(net: OcclusionNet, square: torch.Tensor, inside: torch.Tensor) -> None:
    both = net.front(torch.cat([square.flip(3), square]), torch.cat([inside.flip(3), inside]))
    torch.testing.assert_close(both[1:], net.front(square, inside), atol=1e-4, rtol=0)


def test_above_the_brows(mesh: torch.Tensor) -> None:
    above = above_brows(mesh)[0, 0]
    forehead, nose = (mesh[[point]] * SIZE for point in (10, 4))
    assert above[int(forehead[0, 1]), int(forehead[0, 0])] == 1
    assert above[int(nose[0, 1]) :].max() == 0


def test_hair_hangs_in_above_and_beside_the_features(mesh: torch.Tensor) -> None:
    around = around_features(mesh)[0, 0]
    for point, wanted in ((10, 1), (234, 1), (454, 1), (4, 0), (159, 0), (13, 0)):  # forehead, sides; nose, eye, lips
        x, y = (mesh[point] * SIZE).long().tolist()
        assert around[y, x] == wanted
