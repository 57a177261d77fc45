"""Bundles from a Hub on loopback: what is fetched, resumed, checked and said when it fails."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from weights.hub_server import Hub, Repo, serve, use

from dbaf.errors import WeightsError
from dbaf.weights import bundle
from dbaf.weights.bundle import MANIFEST, bundle_digest, bundle_folder, load_part, save_part
from dbaf.weights.hub import cached, fetch, name_of, parse

NAME = "some-one/tiny.bundle"
SECRET = "hf_right"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    hub, server = serve()
    use(hub, str(tmp_path / "cache"), monkeypatch)
    yield hub
    server.shutdown()
    server.server_close()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that huggingface_hub would have waited."""
    waited: list[float] = []
    monkeypatch.setattr(time, "sleep", waited.append)
    return waited


def tiny(folder: Path, value: float = 0) -> Path:
    """A bundle of two parts, the first in several shards."""
    layers = {f"layer{i}": torch.full((10, 20), float(i) + value) for i in range(5)}
    before, bundle.SHARD_BYTES = bundle.SHARD_BYTES, 1000
    save_part(folder, "net", layers, {"width": 3}, "Apache-2.0, a test")
    save_part(folder, "other", {"x": torch.ones(2)}, {}, "MIT, a test")
    bundle.SHARD_BYTES = before
    return folder


@pytest.fixture
def repo(hub: Hub, tmp_path: Path) -> Repo:
    """Holds a bundle, and files that nobody should fetch."""
    folder = tiny(tmp_path / "original")
    repo = hub.repos[NAME] = Repo()
    texts = {"README.md": b"a card", "LICENSE": b"a licence", "weights.pkl": b"a pickle", "code.py": b"code"}
    repo.commit({path.name: path.read_bytes() for path in folder.iterdir()} | texts)
    return repo


def shards(repo: Repo) -> list[str]:
    return sorted(name for name in repo.commits[repo.refs["main"]] if name.endswith(".safetensors"))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a/b", ("a/b", "main")),
        ("a/b@v1", ("a/b", "v1")),
        ("a/b@refs/pr/1", ("a/b", "refs/pr/1")),
        ("mobile", None),
        ("/a/b", None),
        ("./b", None),
        ("../b", None),
        ("a/..", None),
        ("a/b@../../c", None),
        ("a/b@", None),
        ("a/b@x@y", None),
        ("a/b/c", None),
        ("a--b/c", None),
        ("a/b\n", None),
        ("ä/b", None),
    ],
)
def test_names(name: str, expected: tuple[str, str] | None) -> None:
    assert parse(name) == expected


def test_download_takes_a_bundle_and_nothing_else(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    folder = bundle_folder(NAME, progress=lambda done, total: steps.append((done, total)))
    assert folder.name == repo.refs["main"]
    assert sorted(path.name for path in folder.iterdir()) == sorted([*shards(repo), MANIFEST, "LICENSE", "README.md"])
    assert torch.equal(load_part(folder, "net")[0]["layer3"], torch.full((10, 20), 3.0))
    assert bundle_digest(NAME) == bundle_digest(str(tmp_path / "original"))
    sizes = sum((folder / name).stat().st_size for name in shards(repo))
    assert steps[-1] == (sizes, sizes)
    assert len(steps) == len(shards(repo))
    assert list(cached()) == [f"{NAME}@{folder.name}"]


def test_what_is_cached_stays_until_it_is_fetched_again(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    first = fetch(NAME)
    hub.log.clear()
    folder = tiny(tmp_path / "newer", value=9)
    newer = repo.commit({path.name: path.read_bytes() for path in folder.iterdir()})
    assert fetch(NAME) == first  # recovery needs the weights that anonymized
    assert not hub.log
    assert fetch(NAME, renew=True).name == newer
    assert fetch(NAME).name == newer
    assert fetch(f"{NAME}@{first.name}") == first


def test_a_revision_is_pinned(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    old = repo.refs["v1"] = repo.refs["main"]
    folder = tiny(tmp_path / "newer", value=9)
    repo.commit({path.name: path.read_bytes() for path in folder.iterdir()})
    assert fetch(f"{NAME}@v1").name == fetch(f"{NAME}@{old}").name == old
    assert fetch(NAME).name != old


def test_resumes_after_a_cut(hub: Hub, repo: Repo, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10)  # of 10 MB: less is asked for again
    name = shards(repo)[1]
    hub.cut[name] = [100]
    fetch(NAME)
    assert [headers.get("range") for headers in hub.asked("GET", name)] == [None, "bytes=100-"]


def test_goes_on_after_it_was_given_up(hub: Hub, repo: Repo, waits: list[float]) -> None:
    first, second = shards(repo)[:2]
    hub.cut[second] = [0] * 100
    with pytest.raises(WeightsError, match=f"Cannot get {second}.*the connection failed.*weights fetch {NAME}"):
        fetch(NAME)
    with pytest.raises(WeightsError, match=f"{second}.*local_files_only"):
        fetch(NAME, local_files_only=True)
    hub.cut.clear()
    hub.log.clear()
    load_part(fetch(NAME), "net")
    assert not hub.asked("GET", first)


def test_stopped_by_the_caller(hub: Hub, repo: Repo) -> None:
    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(NAME, progress=stop)
    steps: list[int] = []
    fetch(NAME, progress=lambda done, total: steps.append(total))
    assert len(steps) == len(shards(repo)) - 1


def test_the_hub_serves_something_else(hub: Hub, repo: Repo) -> None:
    name = shards(repo)[0]
    hub.altered.add(name)
    with pytest.raises(WeightsError, match=f"{name} was altered.*weights fetch {NAME} --revision"):
        fetch(NAME)
    with pytest.raises(WeightsError, match=f"{name} was altered"):
        load_part(fetch(NAME), "net")


@pytest.mark.parametrize("damage", ["altered", "short", MANIFEST])
def test_a_damaged_cache_never_loads_and_is_mended(hub: Hub, repo: Repo, damage: str) -> None:
    folder = fetch(NAME)
    file = folder / (MANIFEST if damage == MANIFEST else shards(repo)[0])
    data = file.read_bytes()
    file.write_bytes(data[:-1] if damage in ("short", MANIFEST) else data[:-1] + b"?")
    if damage == MANIFEST:
        file.write_bytes(data[:40])
    command = f"python -m dbaf weights fetch {NAME} --revision {folder.name}"
    with pytest.raises(WeightsError, match=command):
        load_part(bundle_folder(NAME), "net")
    hub.log.clear()
    fetch(f"{NAME}@{folder.name}", renew=True)
    assert len(hub.asked("GET", ".safetensors")) == (0 if damage == MANIFEST else 1)
    load_part(bundle_folder(NAME), "net")


def test_a_manifest_cannot_lead_out_of_its_folder(hub: Hub, repo: Repo) -> None:
    files = repo.commits[repo.refs["main"]]
    for name in ("../../evil.safetensors", "/evil.safetensors", "evil.pkl", "..safetensors"):
        repo.commit(files | {MANIFEST: files[MANIFEST].replace(shards(repo)[0].encode(), name.encode())})
        with pytest.raises(WeightsError, match="does not list the shards"):
            fetch(NAME, renew=True)


def test_not_a_bundle(hub: Hub) -> None:
    hub.repos[NAME] = Repo()
    hub.repos[NAME].commit({"model.safetensors": b"something else"})
    with pytest.raises(WeightsError, match=f"no file {MANIFEST}"):
        fetch(NAME)
    assert not cached()


@pytest.mark.parametrize("kind", ["private", "gated"])
def test_restricted_access(hub: Hub, repo: Repo, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    setattr(repo, kind, True)
    with pytest.raises(WeightsError, match="HF_TOKEN"):
        fetch(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(WeightsError, match="HF_TOKEN") as error:
        fetch(NAME)
    assert "hf_wrong" not in str(error.value)
    monkeypatch.setenv("HF_TOKEN", SECRET)
    load_part(fetch(NAME), "net")
    assert all("authorization" not in headers for headers in hub.asked("GET", ".safetensors"))  # another host


def test_unknown_repository_and_revision(hub: Hub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match=r"no such repository.*weights fetch no/body --revision main") as error:
        bundle_folder("no/body", [tmp_path / "models"])
    for place in (tmp_path / "models" / "no/body", bundle.EMBEDDED / "no/body", Path("no/body").absolute()):
        assert str(place) in str(error.value)
    monkeypatch.setenv("HF_TOKEN", SECRET)  # then the Hub says 404 and not 401
    with pytest.raises(WeightsError, match="no such repository"):
        fetch("no/body")
    with pytest.raises(WeightsError, match="no revision 'v9'"):
        fetch(f"{NAME}@v9")


def test_waits_when_it_is_told_to(hub: Hub, repo: Repo, waits: list[float]) -> None:
    hub.busy = 2
    load_part(fetch(NAME), "net")
    assert max(waits) >= 7  # Retry-After


def test_gives_up_when_the_hub_stays_busy(hub: Hub, repo: Repo, waits: list[float]) -> None:
    hub.busy = 1000
    with pytest.raises(WeightsError, match="too many requests"):
        fetch(NAME)


def test_offline(hub: Hub, repo: Repo, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        fetch(NAME)
    assert not hub.log
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    folder = fetch(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert fetch(NAME) == folder
    with pytest.raises(WeightsError, match="HF_HUB_OFFLINE"):
        fetch(NAME, renew=True)


def test_local_files_only(hub: Hub, repo: Repo) -> None:
    with pytest.raises(WeightsError, match="local_files_only"):
        bundle_folder(NAME, local_files_only=True)
    assert not hub.log
    folder = fetch(NAME)
    hub.log.clear()
    assert bundle_folder(NAME, local_files_only=True) == folder
    assert not hub.log


def test_nobody_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, waits: list[float]) -> None:
    use(Hub("http://127.0.0.1:9"), str(tmp_path), monkeypatch)
    with pytest.raises(WeightsError, match=r"from http://127\.0\.0\.1:9: .*onnect"):
        fetch(NAME)


def test_local_folders_come_first(hub: Hub, repo: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    places = [tmp_path / "a", tmp_path / "b"]
    mine = tiny(places[1] / "mobile")
    assert bundle_folder("mobile", places) == mine
    assert bundle_folder("mobile") == bundle.EMBEDDED / "mobile"
    put = tiny(places[0] / f"{NAME}@v1")
    assert bundle_folder(f"{NAME}@v1", places) == put
    monkeypatch.chdir(tmp_path)
    here = tiny(tmp_path / NAME)
    assert bundle_folder(NAME).samefile(here)
    (here / MANIFEST).unlink()
    with pytest.raises(WeightsError, match="No model bundle"):  # a folder of ours is not asked for elsewhere
        bundle_folder(NAME)
    assert not hub.log


def test_names_of_cached_folders(tmp_path: Path) -> None:
    assert name_of(tmp_path / "models--a--b" / "snapshots" / "0f") == ("a/b", "0f")
    assert name_of(tmp_path / "models--a--b" / "blobs" / "0f") is None
    assert name_of(tmp_path) is None


def test_nothing_is_imported_before_it_is_needed() -> None:
    code = "import sys, dbaf.pipeline, dbaf.cli, dbaf.weights.publish; sys.exit('huggingface_hub' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_command_and_its_environment(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    repo.private = True
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": hub.url, "HF_HOME": str(tmp_path / "home"), "COLUMNS": "500"}

    def run(*arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "dbaf", "weights", *arguments]
        return subprocess.run(command, env=environment | more, capture_output=True, text=True, check=False)

    refused = run("fetch", NAME)
    assert refused.returncode == 1
    assert refused.stderr.count("Error:") == 1
    assert "HF_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr
    done = run("fetch", NAME, "--revision", "main", HF_TOKEN=SECRET)
    pinned = f"{NAME}@{repo.refs['main']}"
    assert pinned in done.stdout, done.stderr
    assert SECRET not in done.stdout + done.stderr
    listed = run("list", HF_HUB_OFFLINE="1").stdout
    assert f"{pinned}\n  net" in listed
    assert "Apache-2.0, a test" in listed
    assert "HF_HUB_OFFLINE" in run("fetch", "no/body", HF_HUB_OFFLINE="1").stderr
