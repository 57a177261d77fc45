"""Sealing W+ codes: AES-SIV (RFC 5297), which needs no nonce, so that equal faces give equal bytes under one key.

A wrong key and changed bytes cannot be told apart, nor from an imprint of other weights.
"""

from contextlib import suppress

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESSIV

from dbaf.keys import Key

TAG_BYTES = 16


def seal_imprint(code: bytes, key: Key, weights: bytes) -> bytes:
    """Encrypt: TAG_BYTES more than `code` has.

    Args:
        code: what `LatentCode.pack` gave.
        key: the secret.
        weights: names what `code` means, see `LatentCode.digest`.
    """
    return AESSIV(key.imprint_key()).encrypt(code, [weights])


def open_imprint(sealed: bytes, key: Key, weights: bytes) -> bytes | None:
    """Decrypt; None if it does not open with this key and these weights."""
    with suppress(InvalidTag, ValueError):  # ValueError: shorter than a tag
        return AESSIV(key.imprint_key()).decrypt(sealed, [weights])
    return None
