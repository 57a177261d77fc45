"""New identities for the encoder to disentangle: the same in a batch as KRIA's, one by one."""

import torch
from made_up import fitted_kria, noise

from dbaf.cid import CID
from dbaf.faces.gestures import GESTURES
from dbaf.gesture_code import GestureCode
from dbaf.training.exchange import Exchange

FACES, STYLES, DIM = 8, 7, 32


def made_up_exchange() -> Exchange:
    torch.manual_seed(0)
    gesture_code = GestureCode(STYLES, DIM)
    gesture_code.along.copy_(noise(GESTURES, STYLES, DIM) / 10)
    cid = CID((2, 2, 3), DIM, depth=1, heads=4, mlp=32)
    for stack in cid.stacks:  # attributes that do not depend on the code, so that the identity code has all of a change
        stack[-1].weight.requires_grad_(False).zero_()
    return Exchange(cid, gesture_code, fitted_kria()).eval().requires_grad_(False)


def faces() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Codes, what the faces do, keys."""
    return noise(FACES, STYLES, DIM), noise(FACES, GESTURES, seed=1), noise(FACES, 3, DIM, seed=2)


def test_new_identities_are_those_that_kria_gives_and_pairs_of_one_crowd_share_them() -> None:
    exchange, (codes, doing, keys) = made_up_exchange(), faces()
    kria, new = exchange.kria, exchange.exchanged(codes, doing, keys)
    old = exchange.identity(codes, doing)
    assert torch.equal(new.men, kria.scored(old) > 0)
    given = kria(old, keys)
    first = torch.arange(FACES) < FACES // 2
    own = first | ~new.alike.repeat(2)
    assert 0 < new.alike.sum() < FACES // 2
    torch.testing.assert_close((new.codes - codes)[own], (given - old)[own], atol=1e-3, rtol=0)
    shared = new.coordinates[~own]
    torch.testing.assert_close(shared, kria.coordinates(given)[first][new.alike], atol=1e-3, rtol=0)
    torch.testing.assert_close(kria.coordinates(old + new.codes - codes), new.coordinates, atol=1e-3, rtol=0)


def test_nothing_but_the_coordinates_changes() -> None:
    exchange, (codes, doing, keys) = made_up_exchange(), faces()
    new, old = exchange.exchanged(codes, doing, keys), exchange.identity(codes, doing)
    changed = old + new.codes - codes
    assert (changed - old).abs().mean() > 0.1
    torch.testing.assert_close(exchange.kria.hold(old, changed), changed, atol=1e-3, rtol=0)


def test_coordinates_are_read_in_the_crowd_that_is_asked_for() -> None:
    exchange, (codes, doing, _) = made_up_exchange(), faces()
    identity = exchange.identity(codes, doing)
    men = exchange.kria.scored(identity) > 0
    own = exchange.kria.coordinates(identity)
    torch.testing.assert_close(exchange.read(identity, men), own, atol=1e-4, rtol=0)
    assert ((exchange.read(identity, ~men) - own).abs().amax(1) > 0.1).all()


def test_what_is_kept_of_a_code_has_a_gradient_and_what_is_replaced_has_none() -> None:
    exchange, (codes, doing, keys) = made_up_exchange(), faces()
    codes.requires_grad_()
    new = exchange.exchanged(codes, doing, keys)
    assert not new.coordinates.requires_grad
    (slope,) = torch.autograd.grad((new.codes * noise(*codes.shape, seed=3)).sum(), codes)  # [FACES, STYLES, DIM]
    along = exchange.write(torch.zeros_like(codes), noise(*new.coordinates.shape, seed=4), new.men)
    assert (slope * noise(*codes.shape, seed=5)).sum().abs() > 1
    assert (slope * along).sum().abs() < 1e-3
