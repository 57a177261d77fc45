"""Bundles on the Hugging Face Hub, by `owner/name` or `owner/name@revision` (a branch, a tag or a commit).

What is fetched lands in the Hub's own cache, under the commit that it came from. Later the cache is asked before the
network: a name keeps meaning the same weights, as recovery needs, until `dbaf weights fetch` asks the Hub anew.
`HF_TOKEN`, `HF_ENDPOINT`, `HF_HOME` and `HF_HUB_OFFLINE` count. huggingface_hub is imported when it is first needed.
"""

import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from dbaf.errors import WeightsError
from dbaf.weights.bundle import MANIFEST, check_shard, read_manifest

Progress = Callable[[int, int], None]  # bytes done, bytes in all

TEXTS = ("LICENSE", "README.md")  # with the manifest and its shards, all that is ever fetched
BUSY = (429, 500, 502, 503, 504)
TRIES = 3
NAME = re.compile(r"(?P<repo>\w[\w.-]*/\w[\w.-]*)(@(?P<revision>\w[\w./-]*))?", re.ASCII)
SNAPSHOT = re.compile(r"models--(?P<owner>.+?)--(?P<name>.+)")


class HubName(NamedTuple):
    """A repository and a revision of it."""

    repo: str
    revision: str = "main"

    def __str__(self) -> str:
        return f"{self.repo}@{self.revision}"

    @property
    def command(self) -> str:
        """What fetches it by hand, and mends what is damaged."""
        return f"python -m dbaf weights fetch {self.repo} --revision {self.revision}"


def parse(name: str) -> HubName | None:
    """`owner/name` or `owner/name@revision`; None if it is neither."""
    match = NAME.fullmatch(name)
    if match is None or ".." in name or "--" in match["repo"]:
        return None
    return HubName(match["repo"], match["revision"] or "main")


def name_of(folder: Path) -> HubName | None:
    """Where a folder of the Hub's cache came from, with its commit; None for other folders."""
    match = SNAPSHOT.fullmatch(folder.parent.parent.name)
    if match is None or folder.parent.name != "snapshots":
        return None
    return HubName(f"{match['owner']}/{match['name']}", folder.name)


def fetch(name: str, local_files_only: bool = False, renew: bool = False, progress: Progress | None = None) -> Path:
    """The folder of a bundle in the Hub's cache; its name is the commit. Only what the cache lacks is downloaded.

    Every downloaded shard is checked against the manifest; those from the cache are when they are loaded.

    Args:
        name: `owner/name` or `owner/name@revision`.
        local_files_only: download nothing.
        renew: ask the Hub what the revision is now, and replace damaged files.
        progress: called with (bytes done, bytes in all) after each downloaded shard; what it raises ends the download,
            which the next call continues.

    Raises:
        WeightsError: no such name, repository, revision or file, no access, no network, or an altered file; says which
            file, why, and what to do.
    """
    source = parse(name)
    if source is None:
        raise WeightsError(f"'{name}' names nothing on the Hugging Face Hub: give owner/name or owner/name@revision.")
    manifest = None if renew else _cached(source, MANIFEST)
    if manifest is None:
        manifest = _download(source, MANIFEST, local_files_only, renew)
        pinned = HubName(source.repo, manifest.parent.name)
        for text in TEXTS:
            _download_if_there(pinned, text, local_files_only)
    folder = manifest.parent
    pinned = HubName(source.repo, folder.name)
    shards = read_manifest(folder)["shards"]
    wanted = {file: entry for file, entry in shards.items() if not _there(folder / file, entry, check=renew)}
    done, total = 0, sum(entry["bytes"] for entry in wanted.values())
    for file, entry in wanted.items():
        _download(pinned, file, local_files_only, again=renew)
        check_shard(folder / file, entry)
        done += entry["bytes"]
        if progress:
            progress(done, total)
    return folder


def cached() -> dict[str, Path]:
    """`owner/name@commit` -> folder of every bundle in the Hub's cache, whole or not."""
    from huggingface_hub import constants

    found = {}
    for manifest in sorted(Path(constants.HF_HUB_CACHE).glob(f"models--*/snapshots/*/{MANIFEST}")):
        name = name_of(manifest.parent)
        if name is not None and _readable(manifest.parent):
            found[str(name)] = manifest.parent
    return found


def explain(error: Exception, source: HubName, file: str = MANIFEST) -> str:
    """Why the Hub gave or took nothing, in a few words that never hold a token or a signed address."""
    from huggingface_hub import constants, errors

    chain = _causes(error)
    for one in chain:
        if isinstance(one, errors.GatedRepoError):
            return f"access is restricted: accept the terms on {constants.ENDPOINT}/{source.repo} and set HF_TOKEN"
        if isinstance(one, errors.RepositoryNotFoundError):
            return "there is no such repository, or it is private and HF_TOKEN is not set to a token that may read it"
        if isinstance(one, errors.RevisionNotFoundError):
            return f"the repository has no revision '{source.revision}'"
        if isinstance(one, errors.OfflineModeIsEnabled) or constants.HF_HUB_OFFLINE:
            return "it is not in the cache, and HF_HUB_OFFLINE forbids downloads"
        if isinstance(one, errors.EntryNotFoundError) and not isinstance(one, FileNotFoundError):
            return f"the repository has no file {file}"
    if (answer := _answer(chain)) is not None:
        reasons = {401: "the token in HF_TOKEN is refused", 403: "the token in HF_TOKEN does not allow it"}
        reasons[429] = "too many requests; try again in a few minutes"
        return f"{reasons.get(answer.status_code, 'the Hub failed')} (HTTP {answer.status_code})"
    last = chain[-1]
    if isinstance(last, OSError) and last.strerror:
        return last.strerror  # a full disk, a folder without rights
    if isinstance(last, errors.LocalEntryNotFoundError):
        return "it is not in the cache, and downloading is off (local_files_only)"
    return f"the connection failed ({type(last).__name__})"


def _causes(error: BaseException) -> list[BaseException]:
    """An error, and what it was raised from: huggingface_hub wraps most in "not found locally"."""
    chain = [error]
    while (cause := chain[-1].__cause__) is not None:
        chain.append(cause)
    return chain


def _answer(chain: list[BaseException]) -> Any:
    """The Hub's answer that was the error; its type depends on the HTTP library."""
    from huggingface_hub.errors import HfHubHTTPError

    answers = (error.response for error in chain if isinstance(error, HfHubHTTPError))
    return next((answer for answer in answers if answer is not None), None)


def _pause(error: Exception, attempt: int) -> float | None:
    """Seconds until the next try of what a busy Hub or a cut connection spoiled; None: it would fail again.

    Older versions of huggingface_hub do not try again themselves.
    """
    answer = _answer(_causes(error))
    cut = answer is None and not type(error).__module__.startswith(("builtins", "huggingface_hub"))
    if attempt == TRIES or not (cut or (answer is not None and answer.status_code in BUSY)):
        return None
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    return min(int(asked), 60) if asked.isdecimal() else 2**attempt


def _cached(source: HubName, file: str) -> Path | None:
    from huggingface_hub import try_to_load_from_cache

    found = try_to_load_from_cache(source.repo, file, revision=source.revision)
    return Path(found) if isinstance(found, str) else None


def _download(source: HubName, file: str, local_files_only: bool, again: bool = False) -> Path:
    """One file, at once if it is in the cache."""
    from huggingface_hub import constants, hf_hub_download

    attempt = 0
    while True:
        attempt += 1
        try:
            with _no_bars():
                path = hf_hub_download(
                    source.repo,
                    file,
                    revision=source.revision,
                    local_files_only=local_files_only,
                    force_download=again and not local_files_only,
                )
            return Path(path)
        except Exception as error:  # OSError, ValueError, and those of whatever HTTP library it uses
            seconds = _pause(error, attempt)
            if seconds is None:
                raise WeightsError(
                    f"Cannot get {file} of {source} from {constants.ENDPOINT}: {explain(error, source, file)}. "
                    f"The cache is {constants.HF_HUB_CACHE}. To fetch it by hand, run: {source.command}"
                ) from error
        time.sleep(seconds)


def _download_if_there(source: HubName, file: str, local_files_only: bool) -> None:
    from huggingface_hub.errors import EntryNotFoundError

    try:
        _download(source, file, local_files_only)
    except WeightsError as error:
        if not isinstance(error.__cause__, EntryNotFoundError):
            raise


def _there(path: Path, entry: dict, check: bool) -> bool:
    if not check:
        return path.is_file()
    try:
        check_shard(path, entry)
    except WeightsError:
        return False
    return True


def _readable(folder: Path) -> bool:
    try:
        read_manifest(folder)
    except WeightsError:  # a manifest.json of something else
        return False
    return True


@contextmanager
def _no_bars() -> Iterator[None]:
    """Without huggingface_hub's bars, one a shard: ours counts all."""
    from huggingface_hub.utils import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    if are_progress_bars_disabled():
        yield
        return
    disable_progress_bars()
    try:
        yield
    finally:
        enable_progress_bars()
