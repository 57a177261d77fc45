"""The text of a key file: parsing, writing, and passphrases (`docs/format.md`)."""

import base64
import binascii
import hmac
import math
import os
import re
import secrets
import unicodedata
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from dbaf.errors import LockedKeyError, SecretError

KEY_BYTES = 32
MAX_TEXT = 4096  # bytes
MIN_STRENGTH = 40  # bits of a new passphrase, as zxcvbn guesses them
SALT_BYTES = 16
_MAGIC = "DBAF-KEY-1"
_ARGON2_COST = (65536, 3, 4)  # KiB, passes, lanes: RFC 9106, second recommended option
_ARGON2_LIMITS = (1 << 20, 64, 64)  # a hostile key file must not take all memory or hang
_HEADER = (
    "# DBAF key. Who has it can bring pseudonymised faces back; without it nobody can. Keep it secret, keep a copy.\n"
)


def derive(secret: bytes, salt: bytes | None, label: bytes, length: int = KEY_BYTES) -> bytes:
    """HKDF with SHA-256 (RFC 5869): a key for one purpose, which its label names."""
    return HKDF(algorithm=SHA256(), length=length, salt=salt, info=label).derive(secret)


def check_value(master: bytes) -> str:
    """8 hexadecimal digits that tell master keys apart."""
    return derive(master, None, b"dbaf/1/check", 4).hex()


def raw_text(master: bytes) -> str:
    """Key text that holds the master key itself."""
    return f"{_HEADER}{_MAGIC} raw {base64.b64encode(master).decode()} {check_value(master)}\n"


def passphrase_text(passphrase: str) -> str:
    """Key text that opens with a passphrase: fresh salt, cost and check value. SecretError if it is no text."""
    salt = secrets.token_bytes(SALT_BYTES)
    check = check_value(_argon2id(passphrase, salt, _ARGON2_COST))
    return f"{_HEADER}{_MAGIC} argon2id {base64.b64encode(salt).decode()} {' '.join(map(str, _ARGON2_COST))} {check}\n"


def strength(passphrase: str) -> float:
    """Bits that a good guesser needs for a passphrase (zxcvbn, Wheeler 2016); of a long one its beginning counts."""
    from zxcvbn import zxcvbn  # takes 0.1 s to load, and most commands need it not

    try:
        return math.log2(max(zxcvbn(passphrase[:72])["guesses"], 1))
    except Exception:  # its errors may quote the passphrase: leave the block before raising
        pass
    raise SecretError("The strength of this passphrase cannot be judged. Take several random words.")


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


def parse(data: bytes, origin: str, passphrase: str | None) -> bytes:
    """Key text -> master key; `origin` starts the error messages, which never repeat any of the text."""
    problem = _wrong = f"{origin} is not a DBAF key. Make one with: python -m dbaf key new FILE"
    text = "" if len(data) > MAX_TEXT else data.decode("utf-8-sig", errors="replace")
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
            raise LockedKeyError(f"{origin} is protected by a passphrase. Give it with --passphrase-env VARIABLE.")
        salt, cost = _base64(fields[2], SALT_BYTES), _cost(fields[3:6])
        master = _argon2id(passphrase, salt, cost) if salt and cost else None
        problem = f"{origin} does not open with this passphrase."
    else:
        master = None
    if master is None:
        raise SecretError(_wrong)
    if not hmac.compare_digest(check_value(master).encode(), fields[-1].encode()):
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


def write_new(path: Path, text: str) -> None:
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
