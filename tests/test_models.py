"""CID, KRIA, MAAR and the encoder at tiny sizes: shapes, and one picture's result does not depend on its neighbours."""

import torch
from made_up import fitted_kria, noise

from dbaf.cid import CID
from dbaf.encoders.compact import FEATURE_CHANNELS, CompactEncoder
from dbaf.kria import FARTHEST, size_of
from dbaf.kria_mlp import MlpKRIA
from dbaf.maar import MAAR

GROUPS = (2, 2, 3)


def alone_is_the_same(function: torch.nn.Module, *inputs: torch.Tensor) -> None:
    together = function(*inputs)
    for index in (1, 0):
        torch.testing.assert_close(function(*(x[index : index + 1] for x in inputs))[0], together[index])


@torch.no_grad()
def test_cid_attends_over_styles_not_over_the_batch() -> None:
    cid = CID(GROUPS, dim=32, depth=2, heads=4, mlp=64).eval()
    codes = noise(3, 7, 32)
    assert cid(codes).shape == codes.shape
    alone_is_the_same(cid, codes)
    touched = codes.clone()
    touched[:, 0] += 1  # a coarse style moves its own group only
    change = (cid(touched) - cid(codes)).abs().amax((0, 2))
    assert (change[:2] > 0).all()
    assert (change[2:] == 0).all()


@torch.no_grad()
def test_cid_as_released_lets_every_style_attend_to_itself_only() -> None:
    cid = CID(GROUPS, dim=32, depth=2, heads=2, mlp=64, head_dim=24, attends=False, projects=False).eval()
    codes = noise(3, 7, 32)
    alone_is_the_same(cid, codes)
    touched = codes.clone()
    touched[:, 0] += 1
    change = (cid(touched) - cid(codes)).abs().amax((0, 2))
    assert change[0] > 0
    assert (change[1:] == 0).all()


@torch.no_grad()
def test_the_paper_s_kria_gives_every_group_its_key() -> None:
    kria = MlpKRIA(list(GROUPS[:2]), hidden=(48, 32), dim=32).eval()
    codes, keys = noise(3, 7, 32), noise(3, 3, 32)
    alone_is_the_same(kria, codes, keys)
    for group, styles in enumerate((range(2), range(2, 4), range(4, 7))):
        other = keys.clone()
        other[:, group] += 1
        change = (kria(codes, other) - kria(codes, keys)).abs().amax((0, 2))
        assert [style for style in range(7) if change[style] > 0] == list(styles)


@torch.no_grad()
def test_kria_leads_back_under_the_same_key_only() -> None:
    kria = fitted_kria()
    codes, keys = noise(3, 7, 32), noise(3, 3, 32)
    hidden = kria(codes, keys)
    assert (hidden - codes).abs().mean() > 0.1
    torch.testing.assert_close(kria(hidden, keys, back=True), codes, atol=1e-4, rtol=0)
    assert (kria(hidden, keys.roll(1, 0), back=True) - codes).abs().mean() > 0.1
    assert (kria(codes, keys.roll(1, 0)) - hidden).abs().mean() > 0.1
    alone_is_the_same(kria, codes, keys)


@torch.no_grad()
def test_an_unlinked_key_turns_fewer_directions_and_leads_back() -> None:
    kria = fitted_kria()
    codes, keys = noise(3, 7, 32) / 30, noise(3, 3, 32)  # far from the limit
    x = kria.coordinates(codes)
    moved = kria.turned(torch.zeros_like(x), keys)
    linked, unlinked = (
        torch.cosine_similarity(kria.turned(x, keys, unlinked=unlinked) - moved, x) for unlinked in (False, True)
    )
    assert linked.mean() < unlinked.mean() - 0.1
    hidden = kria(codes, keys, unlinked=True)
    torch.testing.assert_close(kria(hidden, keys, back=True, unlinked=True), codes, atol=1e-4, rtol=0)
    assert (kria(hidden, keys, back=True) - codes).abs().mean() > 1e-3


@torch.no_grad()
def test_who_looks_alike_is_read_off_codes() -> None:
    kria = fitted_kria()
    codes = noise(4, 7, 32)
    alike = kria.resemblance(codes, codes + noise(4, 7, 32, seed=1) / 10)
    assert alike.shape == (4,)
    assert 0.9 < alike.min() <= alike.max() <= 1
    assert kria.resemblance(codes, codes.roll(1, 0)).max() < 0.7
    mlp = MlpKRIA(list(GROUPS[:2]), hidden=(48, 32), dim=32)
    torch.testing.assert_close(mlp.resemblance(codes, -2 * codes), torch.full((4,), -1.0))


@torch.no_grad()
def test_no_new_identity_is_further_out_than_the_limit_and_from_there_a_way_leads_back() -> None:
    kria = fitted_kria()
    codes, keys = 300 * noise(3, 7, 32, seed=9), noise(3, 3, 32)
    hidden = kria(codes, keys)
    for part in kria.coordinates(hidden).split(kria.ranks, 1):
        assert 2.9 < float(part.square().mean(1).sqrt().min())
        assert float(part.square().mean(1).sqrt().max()) < 3.001
    for way in (keys, keys.roll(1, 0)):
        assert float(size_of(kria.coordinates(kria(hidden, way, back=True))).max()) < FARTHEST[0] + 0.001
    back = kria(hidden, keys, back=True)
    assert torch.cosine_similarity(kria.coordinates(back), kria.coordinates(codes)).min() > 0.9


@torch.no_grad()
def test_kria_leads_back_where_looks_need_not_be_kept() -> None:
    kria = fitted_kria()
    codes, keys = noise(3, 7, 32), noise(3, 3, 32)
    hidden = kria(codes, keys, keep_looks=False)
    assert (hidden - kria(codes, keys)).abs().mean() > 0.1
    torch.testing.assert_close(kria(hidden, keys, back=True, keep_looks=False), codes, atol=1e-4, rtol=0)
    held = kria.hold(codes, codes.flip(0), keep_looks=False)
    moved = kria(held, keys, keep_looks=False) - held
    same = kria(codes.flip(0), keys, keep_looks=False) - codes.flip(0)
    torch.testing.assert_close(moved, same, atol=1e-4, rtol=1e-4)


@torch.no_grad()
def test_kria_holds_what_a_key_turns_and_nothing_else() -> None:
    kria = fitted_kria()
    codes, others, keys = noise(3, 7, 32), noise(3, 7, 32) + 1, noise(3, 3, 32)
    held = kria.hold(codes, others)
    torch.testing.assert_close(kria.coordinates(held), kria.coordinates(others), atol=1e-4, rtol=0)
    kria.middle.fill_(-100)  # one crowd
    held = kria.hold(codes, others)
    torch.testing.assert_close(kria.hold(held, codes), codes, atol=1e-4, rtol=0)  # the rest is as it was
    # the new identity does not depend on what was replaced: nothing of it can show
    turned = kria(held, keys) - held
    torch.testing.assert_close(turned, kria(kria.hold(others * 2, others), keys) - kria.hold(others * 2, others))


@torch.no_grad()
def test_no_key_makes_anybody_one_of_the_other_crowd() -> None:
    kria = fitted_kria()
    codes, keys = noise(20, 7, 32), noise(20, 3, 32)
    before, after = (kria.scored(x) for x in (codes, kria(codes, keys)))
    assert 0 < (before > 0).sum() < 20
    torch.testing.assert_close(before, after, atol=1e-4, rtol=1e-4)
    # whom somebody is held to be decides, too
    held = kria.hold(codes, codes.flip(0))
    crowds = [[kria.crowd(one, True) for one in x.split(1)] for x in (held, codes.flip(0))]
    assert crowds[0] == crowds[1]


@torch.no_grad()
def test_maar_gives_a_map_for_every_scale() -> None:
    maar = MAAR({str(px): channels for px, channels in FEATURE_CHANNELS.items()}, dim=32).eval()
    maps = maar({px: noise(2, channels, px, px) for px, channels in FEATURE_CHANNELS.items()})
    assert {px: tuple(m.shape) for px, m in maps.items()} == {px: (2, 32, px, px) for px in (16, 32, 64)}


@torch.no_grad()
def test_encoder_starts_at_the_mean_and_leaves_inactive_styles_there() -> None:
    encoder = CompactEncoder(7, [0, 1, 3], dim=32, width=48, depth=1, heads=4).eval()
    encoder.mean_wplus.fill_(0.5)
    pictures = noise(2, 3, 256, 256).clamp(-1, 1)
    codes, maps = encoder(pictures)
    assert codes.shape == (2, 7, 32)
    assert (codes[:, [2, 4, 5, 6]] == 0.5).all()
    assert (codes[:, [0, 1, 3]] != 0.5).any()
    assert {px: tuple(m.shape[1:]) for px, m in maps.items()} == {
        px: (channels, px, px) for px, channels in FEATURE_CHANNELS.items()
    }
    torch.testing.assert_close(encoder(pictures[1:])[0][0], codes[1], atol=1e-4, rtol=1e-4)
