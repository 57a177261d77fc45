"""Keys: the committed vectors, a second implementation of the documented format, and what must be refused."""

import base64
import hashlib
import json
import logging
import math
import os
import statistics
import struct
import traceback
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from second import chacha20, hkdf

from dbaf.errors import SecretError
from dbaf.keys import NONCE_BYTES, Key, new_key_file, new_nonce, new_nonces, passphrase_from_env
from dbaf.normal import normal_quantile

FILE = json.loads((Path(__file__).parent / "vectors" / "keys.json").read_text())
VECTORS, NONCES = FILE["vectors"], FILE["nonces"]
RAW = VECTORS[0]["key_text"]
LOCKED = next(v for v in VECTORS if v["passphrase"])
SINES = torch.arange(1.0, 100, dtype=torch.float64).sin()[None]  # coordinates of nobody
posix = pytest.mark.skipif(os.name != "posix", reason="file modes")


def write(path: Path, text: str) -> Path:
    path.write_bytes(text.encode())
    path.chmod(0o600)
    return path


def nonce_of(vector: dict) -> bytes | None:
    return bytes.fromhex(vector["nonce"]) if vector["nonce"] else None


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_vectors(vector: dict, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DBAF_TEST_KEY", vector["key_text"])
    from_file = Key.from_file(write(tmp_path / "key", vector["key_text"]), vector["passphrase"])
    from_env = Key.from_env("DBAF_TEST_KEY", vector["passphrase"])
    for key in (from_file, from_env):
        z = key.latent_noise(nonce_of(vector))
        assert z.shape == (3, 512)
        assert z[:, :4].tolist() == vector["z_first"]
        assert hashlib.sha256(z.numpy().astype("<f4").tobytes()).hexdigest() == vector["z_sha256"]
        ways = [[float(f"{way}1") for way in one] for one in vector["proportions"]]
        assert key.proportions(nonce_of(vector), [0, 1, 33]).tolist() == [*ways, ways[1]]
        if "album" in vector:
            assert key.proportions_of(SINES).tolist() == [[float(f"{way}1") for way in vector["album"]]]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["name"])
def test_second_implementation_from_the_documentation_agrees(vector: dict) -> None:
    """Only the standard library: the vectors are not just what the code happens to do."""
    master, nonce = bytes.fromhex(vector["master"]), nonce_of(vector)
    assert vector["key_text"].split()[-1] == hkdf(master, b"", b"dbaf/1/check")[:4].hex()
    label = b"dbaf/1/latent/unlinked" if nonce else b"dbaf/1/latent/linked"
    words = struct.unpack("<1536Q", chacha20(hkdf(master, nonce or b"", label), 192))
    inverse = statistics.NormalDist().inv_cdf
    z = np.array([inverse((2 * (w >> 12) + 1) / 2**53) for w in words])
    assert hashlib.sha256(z.astype("<f4").tobytes()).hexdigest() == vector["z_sha256"]
    drawn = hkdf(master, nonce or b"", label.replace(b"latent", b"proportions"))
    for byte, ways in zip(drawn if nonce else drawn[:1] * 2, vector["proportions"], strict=False):
        assert "".join("+" if byte >> bit & 1 else "-" for bit in range(8)) == ways
    if "album" in vector:
        words = struct.unpack("<792Q", chacha20(hkdf(master, b"", b"dbaf/1/proportions/album"), 99))
        planes = np.array([inverse((2 * (w >> 12) + 1) / 2**53) for w in words]).reshape(8, 99)
        assert "".join("+" if side >= 0 else "-" for side in planes @ np.sin(np.arange(1, 100))) == vector["album"]


@given(st.integers(0, 2**52 - 1))
def test_normal_quantile_is_the_inverse_cdf_also_in_the_tails(k: int) -> None:
    u = (2 * k + 1) / 2**53
    assert math.isclose(normal_quantile(u), statistics.NormalDist().inv_cdf(u), rel_tol=1e-14, abs_tol=1e-15)
    assert normal_quantile(1 - u) == -normal_quantile(u)


def test_nonces_to_choose_from_differ_every_time() -> None:
    first, second = new_nonces(), new_nonces()
    assert len({*first, *second}) == 2 * len(first) > 2
    assert {len(nonce) for nonce in first} == {NONCE_BYTES}


def test_nonces_of_a_content() -> None:
    """The vectors, which the documented format gives as well; others under another key."""
    for vector in NONCES:
        master, content = bytes.fromhex(vector["master"]), bytes.fromhex(vector["content"])
        salt = hashlib.sha256(f"{vector['variation']} ".encode() + content).digest()
        nonces = [bytes.fromhex(nonce) for nonce in vector["nonces"]]
        assert b"".join(nonces) == hkdf(master, salt, b"dbaf/1/nonces", 16 * NONCE_BYTES)
        assert Key(master).nonces_of(content, vector["variation"]) == nonces
        assert not {*nonces} & {*Key.generate().nonces_of(content, vector["variation"])}
    assert len({nonce for vector in NONCES for nonce in vector["nonces"]}) == 16 * len(NONCES)


def test_latents_are_standard_normal_and_differ_between_keys_and_nonces() -> None:
    key = Key.generate()
    draws = [key.latent_noise(), key.latent_noise(new_nonce()), key.latent_noise(new_nonce())]
    draws.append(Key.generate().latent_noise())
    for i, z in enumerate(draws):
        assert abs(z.mean()) < 0.15
        assert abs(z.std() - 1) < 0.1
        assert all(abs(np.corrcoef(z.flatten(), other.flatten())[0, 1]) < 0.15 for other in draws[:i])
    assert (key.latent_noise() == draws[0]).all()


def test_proportions_go_either_way_and_differ_between_keys_nonces_and_people() -> None:
    key = Key(bytes(32))
    drawn = [*(key.proportions(bytes([n]) * NONCE_BYTES, [0]) for n in range(100)), key.proportions(None, [0])]
    drawn += [Key(bytes([n]) * 32).proportions(None, [0]) for n in range(1, 100)]
    drawn += [key.proportions(bytes(NONCE_BYTES), range(1, 32))]
    ways = np.concatenate([one.numpy() for one in drawn])  # [231, 8]
    assert set(ways.flatten().tolist()) == {1.0, -1.0}
    assert abs(ways.mean(0)).max() < 0.25
    assert abs(np.corrcoef(ways.T) - np.eye(ways.shape[1])).max() < 0.25


def test_proportions_in_an_album_go_by_who_it_is() -> None:
    """Who is a little further along in another album keeps most; other people, and other keys, have others."""
    generator = torch.Generator().manual_seed(0)
    people = torch.randn(200, 99, generator=generator)
    moved = people + 0.4 * torch.randn(200, 99, generator=generator)
    key = Key(bytes(32))
    ways = key.proportions_of(people)
    assert ways.shape == (200, 8)
    assert set(ways.flatten().tolist()) == {1.0, -1.0}
    assert (ways == key.proportions_of(moved)).float().mean() > 0.8
    assert abs(float((ways == ways.roll(1, 0)).float().mean()) - 0.5) < 0.05
    assert abs(float((ways == Key(bytes([1]) * 32).proportions_of(people)).float().mean()) - 0.5) < 0.15
    assert torch.equal(ways[3:5], key.proportions_of(people[3:5]))


@pytest.mark.parametrize("nonce", [b"", bytes(15), bytes(17)])
def test_nonce_of_another_length_is_refused(nonce: bytes) -> None:
    with pytest.raises(SecretError, match="16 bytes"):
        Key.generate().latent_noise(nonce)
    with pytest.raises(SecretError, match="16 bytes"):
        Key.generate().proportions(nonce, [0])


def test_saved_key_comes_back_and_is_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "key"
    key = Key.generate()
    key.save(path)
    before = path.read_bytes()
    assert (Key.from_file(path).latent_noise() == key.latent_noise()).all()
    for attempt in (key.save, new_key_file, lambda p: new_key_file(p, "long enough passphrase")):
        with pytest.raises(SecretError, match="never overwritten"):
            attempt(path)
    assert path.read_bytes() == before


@posix
def test_new_files_are_mode_600_whatever_the_umask_and_links_are_not_followed(tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        new_key_file(tmp_path / "key")
    finally:
        os.umask(old)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(SecretError):
        new_key_file(tmp_path / "link")
    assert not (tmp_path / "elsewhere").exists()


def test_passphrase_file_opens_with_its_passphrase_only(tmp_path: Path) -> None:
    path = tmp_path / "key"
    new_key_file(path, "pässword one two")
    first = Key.from_file(path, "pässword one two").latent_noise()
    assert (Key.from_file(path, "pa\u0308ssword one two").latent_noise() == first).all()  # as macOS may type it
    with pytest.raises(SecretError, match="does not open with this passphrase"):
        Key.from_file(path, "pässword one tw")
    with pytest.raises(SecretError, match="--passphrase-env"):
        Key.from_file(path)
    new_key_file(tmp_path / "other", "pässword one two")  # another salt
    assert not (Key.from_file(tmp_path / "other", "pässword one two").latent_noise() == first).all()


@pytest.mark.parametrize("passphrase", ["1234567", "password1", "Tr0ub4dor&3", "x" * 80, "qwertyuiop[]asdf"])
def test_weak_new_passphrase_is_refused_and_leaves_no_file(tmp_path: Path, passphrase: str) -> None:
    with pytest.raises(SecretError, match=r"easy to guess: about \d+ bits") as caught:
        new_key_file(tmp_path / "key", passphrase)
    assert passphrase not in "".join(traceback.format_exception(caught.value))
    assert not (tmp_path / "key").exists()
    new_key_file(tmp_path / "key", passphrase, weak=True)
    Key.from_file(tmp_path / "key", passphrase)


@posix
def test_key_file_open_to_others_warns_without_content(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = write(tmp_path / "key", RAW)
    with caplog.at_level(logging.WARNING):
        Key.from_file(path)
        assert not caplog.records
        path.chmod(0o644)
        Key.from_file(path)
    assert "chmod 600" in caplog.text
    assert RAW.split()[2] not in caplog.text


BAD = {
    "empty": "",
    "only comments": "# DBAF-KEY-1 raw\n",
    "bare base64": base64.b64encode(bytes(32)).decode(),
    "two keys": RAW * 2,
    "wrong base64": RAW.replace("=", "!"),
    "31 bytes": f"DBAF-KEY-1 raw {base64.b64encode(bytes(31)).decode()} 00000000",
    "loose base64 bits": RAW.replace("h8=", "h9="),
    "no check": " ".join(RAW.split()[:3]),
    "unknown kind": RAW.replace("raw", "scrypt"),
    "huge": RAW + "#" * 100_000,
    "memory of 4 TiB": "DBAF-KEY-1 argon2id AAAAAAAAAAAAAAAAAAAAAA== 4294967296 1 1 00000000",
    "memory too small": "DBAF-KEY-1 argon2id AAAAAAAAAAAAAAAAAAAAAA== 8 1 4 00000000",
    "negative": "DBAF-KEY-1 argon2id AAAAAAAAAAAAAAAAAAAAAA== 64 -1 1 00000000",
    "short salt": "DBAF-KEY-1 argon2id AAAA 64 1 1 00000000",
}


@pytest.mark.parametrize("text", BAD.values(), ids=BAD)
def test_malformed_key_is_refused_by_name(text: str, tmp_path: Path) -> None:
    path = write(tmp_path / "my.key", text)
    with pytest.raises(SecretError, match=r"my\.key is not a DBAF key"):
        Key.from_file(path, "passphrase" if "argon2id" in text else None)


def test_damaged_later_and_superfluous(tmp_path: Path) -> None:
    with pytest.raises(SecretError, match="damaged"):
        Key.from_file(write(tmp_path / "a", RAW.replace("AAEC", "BAEC")))
    with pytest.raises(SecretError, match="update this software"):
        Key.from_file(write(tmp_path / "b", RAW.replace("KEY-1", "KEY-2")))
    with pytest.raises(SecretError, match="not protected"):
        Key.from_file(write(tmp_path / "c", RAW), "a passphrase")
    with pytest.raises(SecretError, match="missing"):
        Key.from_file(tmp_path / "missing")
    with pytest.raises(SecretError):
        Key.from_file(tmp_path)
    with pytest.raises(SecretError):
        Key.from_file(write(tmp_path / "d", "") and tmp_path / "d")


def test_key_file_edited_on_windows_still_opens(tmp_path: Path) -> None:
    path = write(tmp_path / "key", "\ufeff# note\r\n\r\n" + RAW.replace("\n", "\r\n"))
    assert Key.from_file(path).latent_noise()[:, :4].tolist() == VECTORS[0]["z_first"]


@pytest.mark.parametrize("value", [None, ""])
def test_variable_not_set(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DBAF_TEST_KEY", raising=False)
    if value is not None:
        monkeypatch.setenv("DBAF_TEST_KEY", value)
    for read in (Key.from_env, passphrase_from_env):
        with pytest.raises(SecretError, match="not set or empty"):
            read("DBAF_TEST_KEY")


def test_a_key_that_nobody_refers_to_is_wiped() -> None:
    key = Key(bytes(range(32)))
    held = key._master
    del key
    assert not held


def test_wiped_key_is_zeroed_and_unusable(tmp_path: Path) -> None:
    key = Key(bytes(range(32)))
    key.wipe()
    key.wipe()
    for use in (key.latent_noise, lambda: key.save(tmp_path / "key")):
        with pytest.raises(SecretError, match="wiped"):
            use()
    assert not (tmp_path / "key").exists()
