"""Secret keys: where they come from, how they are stored, and the latent key that they give.

`docs/format.md` specifies all of it; vectors are in `tests/vectors/keys.json`. Every use of the master key has a label
of its own in HKDF (RFC 5869, SHA-256): check value, linked and unlinked latent key, wraps of capsules, imprints.
"""

import base64
import binascii
import hmac
import logging
import os
import re
import secrets
import stat
import struct
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NoReturn

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import ChaCha20
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dbaf.errors import SecretError
from dbaf.normal import normal_quantile

if TYPE_CHECKING:  # `dbaf key new` and `dbaf --help` need no torch
    import torch

Linkage = Literal["linked", "unlinked"]

KEY_BYTES = 32
NONCE_BYTES = 16
MIN_PASSPHRASE = 8  # characters of a new passphrase
_SALT_BYTES = 16
_MAGIC = "DBAF-KEY-1"
_ARGON2_COST = (65536, 3, 4)  # KiB, passes, lanes: RFC 9106, second recommended option
_ARGON2_LIMITS = (1 << 20, 64, 64)  # a hostile key file must not take all memory or hang
_MAX_TEXT = 4096
_HEADER = (
    "# DBAF key. Who has it can bring pseudonymised faces back; without it nobody can. Keep it secret, keep a copy.\n"
)

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
                data = file.read(_MAX_TEXT + 1)
        except OSError as error:
            raise SecretError(f"Cannot read the key file {path}: {error.strerror}.") from None
        if os.name == "posix" and stat.S_ISREG(status.st_mode) and status.st_mode & 0o077:
            mode = stat.S_IMODE(status.st_mode)
            _log.warning("Other users can reach the key file %s (mode %03o). Run: chmod 600 %s", path, mode, path)
        return cls(_parse(data, f"The key file {path}", passphrase))

    @classmethod
    def from_env(cls, variable: str, passphrase: str | None = None) -> "Key":
        """Read a key from the environment variable of this name, which holds the text of a key file.

        Raises:
            SecretError: as in `from_file`. Neither the variable's name nor its value is repeated: whoever gives
                the value in place of the name must not find it in a log.
        """
        return cls(
            _parse(os.fsencode(_environment(variable, "key")), "The key in the environment variable", passphrase)
        )

    def save(self, path: Path | str) -> None:
        """Write a raw key file, mode 600; never overwrites.

        Raises:
            SecretError: the file exists or cannot be written.
        """
        text = base64.b64encode(self._bytes()).decode()
        _write_new(Path(path), f"{_HEADER}{_MAGIC} raw {text} {_check(self._bytes())}\n")

    def latent_noise(self, nonce: bytes | None = None) -> "torch.Tensor":
        """The latent key before the mapping network: the same bytes give the same values on every platform.

        Args:
            nonce: None = linked (the key alone decides); 16 bytes of `new_nonce()` = unlinked.

        Returns:
            [3, 512] float32, three z ~ N(0, I).

        Raises:
            SecretError: the nonce has another length, or the key was wiped.
        """
        import torch

        if nonce is None:
            stream_key = derive(self._bytes(), None, b"dbaf/1/latent/linked")
        elif len(nonce) == NONCE_BYTES:
            stream_key = derive(self._bytes(), bytes(nonce), b"dbaf/1/latent/unlinked")
        else:
            raise SecretError(f"A nonce has {NONCE_BYTES} bytes; {len(nonce)} were given.")
        count = 3 * 512
        stream = Cipher(ChaCha20(stream_key, bytes(16)), mode=None).encryptor().update(bytes(8 * count))
        words = struct.unpack(f"<{count}Q", stream)
        z = [normal_quantile((2 * (word >> 12) + 1) / 2**53) for word in words]
        return torch.tensor(z, dtype=torch.float32, device="cpu").view(3, 512)

    def wrap_key(self, salt: bytes) -> bytes:
        """The cipher key of one wrap of a capsule (`dbaf.capsule`): 32 secret bytes.

        Args:
            salt: 16 random bytes, other ones for every wrap.

        Raises:
            SecretError: the salt has another length, or the key was wiped.
        """
        if len(salt) != _SALT_BYTES:
            raise SecretError(f"A salt has {_SALT_BYTES} bytes; {len(salt)} were given.")
        return derive(self._bytes(), bytes(salt), b"dbaf/1/capsule/wrap")

    def imprint_key(self) -> bytes:
        """The key of AES-256-SIV for imprints (`dbaf.imprint`): 64 secret bytes. SecretError if it was wiped."""
        return derive(self._bytes(), None, b"dbaf/1/imprint", 64)

    @property
    def check(self) -> str:
        """8 hexadecimal digits that tell keys apart and say nothing else about them. SecretError if it was wiped."""
        return _check(self._bytes())

    def wipe(self) -> None:
        """Overwrite the key with zeros; using it afterwards is a SecretError. (Python may hold copies elsewhere.)"""
        self._master[:] = bytes(len(self._master))
        del self._master[:]

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


def new_key_file(path: Path | str, passphrase: str | None = None) -> None:
    """Write a new key file, mode 600; never overwrites.

    Without a passphrase it holds a random key. With one it holds salt and cost only, and opens with the passphrase.

    Raises:
        SecretError: the file exists or cannot be written, or the passphrase is shorter than 8 characters.
    """
    if passphrase is None:
        Key.generate().save(path)
        return
    if len(passphrase) < MIN_PASSPHRASE:
        raise SecretError(f"The passphrase has fewer than {MIN_PASSPHRASE} characters. Take several random words.")
    salt = secrets.token_bytes(_SALT_BYTES)
    check = _check(_argon2id(passphrase, salt, _ARGON2_COST))
    cost = " ".join(map(str, _ARGON2_COST))
    _write_new(Path(path), f"{_HEADER}{_MAGIC} argon2id {base64.b64encode(salt).decode()} {cost} {check}\n")


def new_nonce() -> bytes:
    """16 random bytes for one unlinked picture."""
    return secrets.token_bytes(NONCE_BYTES)


def passphrase_from_env(variable: str) -> str:
    """The passphrase in the environment variable of this name.

    Raises:
        SecretError: it is not set or empty (the name is not repeated, see `Key.from_env`).
    """
    return _environment(variable, "passphrase")


def derive(secret: bytes, salt: bytes | None, label: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF with SHA-256 (RFC 5869): a key for one purpose, which its label names."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=label).derive(secret)


def _check(master: bytes) -> str:
    return derive(master, None, b"dbaf/1/check", 4).hex()


def _argon2id(passphrase: str, salt: bytes, cost: tuple[int, int, int]) -> bytes:
    memory, passes, lanes = cost
    try:
        data = unicodedata.normalize("NFC", passphrase).encode()
    except UnicodeEncodeError:  # its `object` is the passphrase: leave the block before raising
        data = b""
    if not data:
        raise SecretError("The passphrase is empty or not valid Unicode text.")
    try:
        kdf = Argon2id(salt=salt, length=KEY_BYTES, iterations=passes, lanes=lanes, memory_cost=memory)
        return kdf.derive(data)
    except UnsupportedAlgorithm:
        raise SecretError(
            "This installation of 'cryptography' has no Argon2id (its OpenSSL is older than 3.2). "
            "Reinstall it from a wheel: pip install --force-reinstall cryptography"
        ) from None


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


def _parse(data: bytes, origin: str, passphrase: str | None) -> bytes:
    """Key text -> master key; `origin` starts the error messages, which never repeat any of the text."""
    problem = _wrong = f"{origin} is not a DBAF key. Make one with: python -m dbaf key new FILE"
    text = "" if len(data) > _MAX_TEXT else data.decode("utf-8-sig", errors="replace")
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    fields = lines[0] if len(lines) == 1 else []
    if fields[:1] != [_MAGIC]:
        version = re.fullmatch(r"DBAF-KEY-(\d{1,4})", fields[0]) if fields else None
        raise SecretError(f"{origin} has format version {version[1]}: update this software." if version else problem)
    if fields[1:2] == ["raw"] and len(fields) == 4:
        if passphrase is not None:
            raise SecretError(f"{origin} is not protected by a passphrase, but one was given. Leave it out.")
        master = _base64(fields[2], KEY_BYTES)
        problem = f"{origin} is damaged: its check value does not fit. Take your copy of it."
    elif fields[1:2] == ["argon2id"] and len(fields) == 7:
        if passphrase is None:
            raise SecretError(f"{origin} is protected by a passphrase. Give it with --passphrase-env VARIABLE.")
        salt, cost = _base64(fields[2], _SALT_BYTES), _cost(fields[3:6])
        master = _argon2id(passphrase, salt, cost) if salt and cost else None
        problem = f"{origin} does not open with this passphrase."
    else:
        master = None
    if master is None:
        raise SecretError(_wrong)
    if not hmac.compare_digest(_check(master).encode(), fields[-1].encode()):
        raise SecretError(problem)
    return master


def _base64(text: str, length: int) -> bytes | None:
    """Canonical base64 of `length` bytes, else None."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if len(data) == length and base64.b64encode(data) == text.encode() else None


def _cost(fields: list[str]) -> tuple[int, int, int] | None:
    """Argon2id memory (KiB), passes and lanes within sane limits, else None."""
    if not all(re.fullmatch(r"[1-9][0-9]{0,8}", field) for field in fields):
        return None
    memory, passes, lanes = (int(field) for field in fields)
    sane = all(value <= limit for value, limit in zip((memory, passes, lanes), _ARGON2_LIMITS, strict=True))
    return (memory, passes, lanes) if sane and memory >= 8 * lanes else None


def _write_new(path: Path, text: str) -> None:
    """Write a secret file, mode 600, that must not exist; O_EXCL also refuses to follow a link."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        raise SecretError(f"{path} exists and a key file is never overwritten. Choose another name.") from None
    except OSError as error:
        raise SecretError(f"Cannot write the key file {path}: {error.strerror}.") from None
    try:
        with open(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except BaseException as error:  # also Ctrl-C: no half key file
        path.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise SecretError(f"Cannot write the key file {path}: {error.strerror}.") from None
        raise
