"""New identities for the encoder to disentangle: the same in a batch as KRIA's, one by one."""

import torch
from made_up import fitted_kria, noise

from dbaf.cid import CID
from dbaf.faces.gestures import GESTURES
from dbaf.gesture_code import GestureCode
from dbaf.training.exchange import Exchange

STYLES, DIM = 7, 32


def exchange() -> Exchange:
    torch.manual_seed(0)
    gesture_code = GestureCode(STYLES, DIM)
    gesture_code.along.copy_(noise(GESTURES, STYLES, DIM) / 10)
    cid = CID((2, 2, 3), DIM, depth=1, heads=4, mlp=32)
    return Exchange(cid, gesture_code, fitted_kria()).eval().requires_grad_(False)


def identity(of: Exchange, codes: torch.Tensor, gestures: torch.Tensor) -> torch.Tensor:
    return codes - of.cid(codes) - of.gesture_code(gestures)


def test_coordinates_are_those_that_kria_reads() -> None:
    of, codes, gestures = exchange(), noise(6, STYLES, DIM), noise(6, GESTURES, seed=1)
    read, crowd = of.read(codes, gestures)
    who = identity(of, codes, gestures)
    torch.testing.assert_close(read, of.kria.coordinates(who), atol=1e-4, rtol=0)
    assert crowd.tolist() == [int(of.kria.scored(one) > 0) for one in who.split(1)]
    assert set(crowd.tolist()) == {0, 1}


def test_what_is_written_is_read_and_nothing_else_changes() -> None:
    of, codes, gestures = exchange(), noise(6, STYLES, DIM), noise(6, GESTURES, seed=1)
    read, crowd = of.read(codes, gestures)
    written = of.draw(read, noise(*read.shape, seed=2))
    change = of.write(codes, written - read, crowd) - codes
    for one, its, wanted, old in zip(
        identity(of, codes, gestures).split(1), change.split(1), written, read, strict=True
    ):
        torch.testing.assert_close(of.kria.coordinates(one + its)[0], wanted, atol=1e-4, rtol=0)
        torch.testing.assert_close(of.kria.scored(one + its), of.kria.scored(one), atol=1e-4, rtol=0)
        assert (wanted - old).abs().mean() > 0.1


def test_new_coordinates_are_such_as_keys_give() -> None:
    of = exchange()
    old = noise(400, sum(of.kria.ranks))
    drawn = of.draw(old, noise(*old.shape, seed=1))
    keys = noise(400, len(of.kria.ranks), DIM, seed=2)
    parts = zip(of.kria.turns, old.split(of.kria.ranks, 1), keys.unbind(1), strict=True)
    given = torch.cat([turn(part, key, False) for turn, part, key in parts], 1)
    assert abs(float(drawn.std() / given.std()) - 1) < 0.05
    ours, theirs = (float((new * old).mean() / (new.std() * old.std())) for new in (drawn, given))
    assert ours < -0.1
    assert abs(ours - theirs) < 0.05


def test_what_is_kept_of_a_code_has_a_gradient_and_what_is_replaced_has_none() -> None:
    of, gestures = exchange(), noise(2, GESTURES, seed=1)
    for stack in of.cid.stacks:  # attributes that do not depend on the code
        stack[-1].weight.zero_()
    codes = noise(2, STYLES, DIM).requires_grad_()
    old, crowd = of.read(codes, gestures)
    new = of.write(codes, torch.ones_like(old) - old, crowd)
    (slope,) = torch.autograd.grad((new * noise(2, STYLES, DIM, seed=2)).sum(), codes)  # [2, STYLES, DIM]
    along = of.write(torch.zeros(2, STYLES, DIM), noise(*old.shape, seed=3), crowd)
    across = noise(2, STYLES, DIM, seed=4)
    assert (slope * across).sum().abs() > 1
    assert (slope * along).sum().abs() < 1e-3
