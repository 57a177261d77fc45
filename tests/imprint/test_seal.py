"""Who can open an imprint."""

from dbaf.imprint import open_imprint, seal_imprint
from dbaf.imprint.seal import TAG_BYTES
from dbaf.keys import Key

KEY, OTHER = Key(bytes(range(32))), Key(bytes(32))
CODE, WEIGHTS = bytes(range(64)), b"w" * 16


def test_opens_with_key_and_weights_only() -> None:
    sealed = seal_imprint(CODE, KEY, WEIGHTS)
    assert len(sealed) == len(CODE) + TAG_BYTES
    assert open_imprint(sealed, KEY, WEIGHTS) == CODE
    assert open_imprint(sealed, OTHER, WEIGHTS) is None
    assert open_imprint(sealed, KEY, b"v" * 16) is None


def test_every_changed_bit_is_noticed() -> None:
    sealed = seal_imprint(CODE[:8], KEY, WEIGHTS)
    for bit in range(8 * len(sealed)):
        changed = bytearray(sealed)
        changed[bit // 8] ^= 1 << bit % 8
        assert open_imprint(bytes(changed), KEY, WEIGHTS) is None
    for short in (b"", sealed[:15], sealed[:-1], sealed + b"\0"):
        assert open_imprint(short, KEY, WEIGHTS) is None


def test_equal_codes_give_equal_bytes_and_others_look_random() -> None:
    assert seal_imprint(CODE, KEY, WEIGHTS) == seal_imprint(CODE, KEY, WEIGHTS)
    one, two = seal_imprint(CODE, KEY, WEIGHTS), seal_imprint(CODE[:-1] + b"\0", KEY, WEIGHTS)
    same = sum(bin(a ^ b).count("0") - 1 for a, b in zip(one, two, strict=True))
    assert same < 8 * len(one) * 0.7
