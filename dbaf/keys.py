"""Secret keys: where they come from, how they are stored, and the latent key that they give.

`docs/format.md` specifies all of it; vectors are in `tests/vectors/keys.json`. Every use of the master key has a label
of its own in HKDF (RFC 5869, SHA-256): check value, latent key, proportions, nonces, wraps of capsules, imprints.
"""

import hashlib
import logging
import os
import secrets
import stat
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20

from dbaf.errors import SecretError
from dbaf.keyfile import (
    KEY_BYTES,
    MAX_TEXT,
    MIN_STRENGTH,
    SALT_BYTES,
    check_value,
    derive,
    parse,
    passphrase_text,
    raw_text,
    strength,
    write_new,
)
from dbaf.normal import normal_quantile

if TYPE_CHECKING:  # `dbaf key new` and `dbaf --help` need no torch
    import torch

Linkage = Literal["linked", "unlinked"]

NONCE_BYTES = 16
DRAWS = 16  # nonces to choose from, see `dbaf.pipeline.Pipeline.choose_nonce`
_log = logging.getLogger(__name__)


class Key:
    """A master key. It shows itself nowhere: redacted text, no pickling, no copies.

    Args:
        master: 32 secret bytes; they are copied, so the caller may overwrite its own.

    Raises:
        SecretError: not 32 bytes.
    """

    __slots__ = ("_master",)

    def __init__(self, master: bytes | bytearray) -> None:
        if len(master) != KEY_BYTES:
            raise SecretError(f"A key has {KEY_BYTES} bytes; {len(master)} were given.")
        self._master = bytearray(master)

    @classmethod
    def generate(cls) -> "Key":
        """A new random key."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @classmethod
    def from_file(cls, path: Path | str, passphrase: str | None = None) -> "Key":
        """Read a key file. A file that others can read is used, but a warning is logged.

        Raises:
            SecretError: missing, unreadable or malformed file; passphrase missing, superfluous or wrong.
        """
        path = Path(path)
        try:
            with path.open("rb") as file:
                status = os.fstat(file.fileno())
                data = file.read(MAX_TEXT + 1)
        except OSError as error:
            raise SecretError(f"Cannot read the key file {path}: {error.strerror}.") from None
        if os.name == "posix" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            _log.warning("Other users can reach the key file %s (mode %03o). Run: chmod 600 %s", path, mode, path)
        return cls(parse(data, f"The key file {path}", passphrase))

    @classmethod
    def from_env(cls, variable: str, passphrase: str | None = None) -> "Key":
        """Read a key from the environment variable of this name, which holds the text of a key file.

        Raises:
            SecretError: as in `from_file`. Neither the variable's name nor its value is repeated: whoever gives
                the value in place of the name must not find it in a log.
        """
        return cls(parse(os.fsencode(_environment(variable, "key")), "The key in the environment variable", passphrase))

    def save(self, path: Path | str) -> None:
        """Write a raw key file, mode 600; never overwrites.

        Raises:
            SecretError: the file exists or cannot be written.
        """
        write_new(Path(path), raw_text(self._bytes()))

    def latent_noise(self, nonce: bytes | None = None) -> "torch.Tensor":
        """The latent key before the mapping network: the same bytes give the same values on every platform.

        Args:
            nonce: None = linked (the key alone decides); 16 bytes of `new_nonce()` = unlinked.

        Returns:
            [3, 512] float32, three z ~ N(0, I).

        Raises:
            SecretError: the nonce has another length, or the key was wiped.
        """
        return _normal(self._derived("latent", nonce), 3, 512)

    def proportions(self, nonce: bytes | None, people: Sequence[int]) -> "torch.Tensor":
        """Which way each of the proportions of new faces is moved, see `dbaf.faces.proportions`.

        Args:
            nonce: as for `latent_noise`.
            people: the number of each in the picture or clip, from 0, so that those of an unlinked one do not look
                like one family. Linked, all have the same, since a person's number is another one in another picture;
                but see `proportions_of`.

        Returns:
            [len(people), 8] float32, each 1 or -1.

        Raises:
            SecretError: as `latent_noise`.
        """
        import torch

        drawn = self._derived("proportions", nonce)
        own = [drawn[0 if nonce is None else number % len(drawn)] for number in people]
        return torch.tensor([[1.0 if byte >> bit & 1 else -1.0 for bit in range(8)] for byte in own])

    def proportions_of(self, coordinates: "torch.Tensor") -> "torch.Tensor":
        """As `proportions`, linked, for people of an album, who are known: they go by who it is, so that two people do
        not look like one family. Each is moved one way or the other by on which side of a plane that the key draws the
        coordinates lie, so that most stay as they are when the album grows.

        Args:
            coordinates: [F, D], of mean 0 over people.

        Returns:
            [F, 8] float32, each 1 or -1.

        Raises:
            SecretError: the key was wiped.
        """
        import torch

        planes = _normal(derive(self._bytes(), None, b"dbaf/1/proportions/album"), 8, coordinates.shape[1])
        sides = coordinates.cpu().double() @ planes.double().T
        return torch.where(sides < 0, -1.0, 1.0).float()

    def nonces_of(self, content: bytes, variation: int = 0) -> list[bytes]:
        """The nonces of a picture: as many as `new_nonces` gives, and the same ones every time. For callers that have
        no place to keep a nonce, and are to give the same output again.

        Args:
            content: the samples of the original picture.
            variation: with another number they are others.

        Raises:
            SecretError: the key was wiped.
        """
        salt = hashlib.sha256(f"{variation} ".encode() + content).digest()
        made = derive(self._bytes(), salt, b"dbaf/1/nonces", DRAWS * NONCE_BYTES)
        return [made[start : start + NONCE_BYTES] for start in range(0, len(made), NONCE_BYTES)]

    def wrap_key(self, salt: bytes) -> bytes:
        """The cipher key of one wrap of a capsule (`dbaf.capsule`): 32 secret bytes.

        Args:
            salt: 16 random bytes, other ones for every wrap.

        Raises:
            SecretError: the salt has another length, or the key was wiped.
        """
        if len(salt) != SALT_BYTES:
            raise SecretError(f"A salt has {SALT_BYTES} bytes; {len(salt)} were given.")
        return derive(self._bytes(), bytes(salt), b"dbaf/1/capsule/wrap")

    def imprint_key(self) -> bytes:
        """The key of AES-256-SIV for imprints (`dbaf.imprint`): 64 secret bytes. SecretError if it was wiped."""
        return derive(self._bytes(), None, b"dbaf/1/imprint", 64)

    @property
    def check(self) -> str:
        """8 hexadecimal digits that tell keys apart and say nothing else about them. SecretError if it was wiped."""
        return check_value(self._bytes())

    def wipe(self) -> None:
        """Overwrite the key with zeros, as when nobody refers to it any more; using it afterwards is a SecretError.

        Python may hold copies elsewhere.
        """
        self._master[:] = bytes(len(self._master))
        del self._master[:]

    def __del__(self) -> None:
        if hasattr(self, "_master"):  # else it was never made
            self.wipe()

    def _derived(self, what: str, nonce: bytes | None) -> bytes:
        """32 secret bytes for a purpose, linked or for a nonce."""
        if nonce is None:
            return derive(self._bytes(), None, f"dbaf/1/{what}/linked".encode())
        if len(nonce) != NONCE_BYTES:
            raise SecretError(f"A nonce has {NONCE_BYTES} bytes; {len(nonce)} were given.")
        return derive(self._bytes(), bytes(nonce), f"dbaf/1/{what}/unlinked".encode())

    def _bytes(self) -> bytes:
        if not self._master:
            raise SecretError("This key was wiped; load it again.")
        return bytes(self._master)

    def __repr__(self) -> str:
        return "<Key, redacted>"

    def _refuse(self, *_: object) -> NoReturn:
        raise SecretError(
            "A key refuses to be pickled or copied, so that it cannot end up in a file; load it where used."
        )

    __reduce_ex__ = __reduce__ = __getstate__ = __copy__ = __deepcopy__ = _refuse


def _normal(secret: bytes, rows: int, columns: int) -> "torch.Tensor":
    """[rows, columns] float32 ~ N(0, I) of 32 secret bytes, the same on every platform."""
    import torch

    count = rows * columns
    stream = Cipher(ChaCha20(secret, bytes(16)), mode=None).encryptor().update(bytes(8 * count))
    words = struct.unpack(f"<{count}Q", stream)
    z = [normal_quantile((2 * (word >> 12) + 1) / 2**53) for word in words]
    return torch.tensor(z, dtype=torch.float32, device="cpu").view(rows, columns)


def new_key_file(path: Path | str, passphrase: str | None = None, weak: bool = False) -> None:
    """Write a new key file, mode 600; never overwrites.

    Args:
        path: to write.
        passphrase: None: the file holds a random key. Else it holds salt and cost only, and opens with the passphrase.
        weak: take a passphrase that is easy to guess.

    Raises:
        SecretError: the file exists or cannot be written, or the passphrase is weak.
    """
    if passphrase is None:
        Key.generate().save(path)
        return
    if not weak and (bits := strength(passphrase)) < MIN_STRENGTH:
        raise SecretError(
            f"The passphrase is too easy to guess: about {bits:.0f} bits, and at least {MIN_STRENGTH} are needed. "
            "Take four or more random words."
        )
    write_new(Path(path), passphrase_text(passphrase))


def new_nonce() -> bytes:
    """16 random bytes for one unlinked picture."""
    return secrets.token_bytes(NONCE_BYTES)


def new_nonces() -> list[bytes]:
    """As many nonces as one is chosen from for an unlinked picture, see `dbaf.pipeline.Pipeline.choose_nonce`."""
    return [new_nonce() for _ in range(DRAWS)]


def passphrase_from_env(variable: str) -> str:
    """The passphrase in the environment variable of this name.

    Raises:
        SecretError: it is not set or empty (the name is not repeated, see `Key.from_env`).
    """
    return _environment(variable, "passphrase")


def _environment(variable: str, what: str) -> str:
    try:
        value = os.environ.get(variable)
    except ValueError:  # a null byte in the name
        value = None
    if not value:
        raise SecretError(
            f"The environment variable for the {what} is not set or empty. "
            f"Give the variable's name, never the {what} itself."
        )
    return value
