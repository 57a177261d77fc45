"""What of a code goes with gestures: a linear function, zero for those of people at large."""

import torch

from dbaf.cid import CID
from dbaf.faces.gestures import GESTURES
from dbaf.gesture_code import GestureCode, attribute_code


def test_each_face_gets_its_own_and_people_at_large_none() -> None:
    code = GestureCode(styles=3, dim=4)
    code.centre.fill_(0.5)
    code.along.copy_(torch.randn(GESTURES, 3, 4, generator=torch.Generator().manual_seed(0)))
    usual = torch.full((1, GESTURES), 0.5)
    wider = usual + torch.eye(GESTURES)[:1]
    both = code(torch.cat([usual, wider]))  # [2, 3, 4]
    assert both[0].abs().max() == 0
    torch.testing.assert_close(both[1], code.along[0])
    torch.testing.assert_close(both[1:], code(wider))


@torch.no_grad()
def test_what_goes_with_gestures_belongs_to_the_attributes_where_a_model_has_the_part() -> None:
    rng = torch.Generator().manual_seed(0)
    cid, goes = CID((1, 1, 1), dim=8, depth=1, heads=2, mlp=16).eval(), GestureCode(styles=3, dim=8)
    goes.along.copy_(torch.randn(GESTURES, 3, 8, generator=rng))
    latent, doing = torch.randn(2, 3, 8, generator=rng), torch.randn(2, GESTURES, generator=rng)
    torch.testing.assert_close(attribute_code(cid, None, latent, doing), cid(latent))
    torch.testing.assert_close(attribute_code(cid, goes, latent, doing) - cid(latent), goes(doing))
