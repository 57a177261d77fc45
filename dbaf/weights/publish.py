"""Publishing a bundle on the Hugging Face Hub, with a model card."""

import json
from pathlib import Path
from typing import NamedTuple

from dbaf.errors import WeightsError
from dbaf.weights.bundle import MANIFEST, bundle_digest, check_shard, read_manifest
from dbaf.weights.card import model_card
from dbaf.weights.hub import TEXTS, HubName, explain, parse


class Published(NamedTuple):
    """Where a bundle is now, and the files that were uploaded there."""

    name: HubName
    files: list[str]


def push(folder: Path, repo: str, private: bool = False, report: Path | None = None) -> Published:
    """Upload a bundle in one commit, with a generated README.md; shards of an earlier version go.

    Args:
        folder: the manifest, its shards, LICENSE if wanted, and nothing else. A README.md in it is not uploaded.
        repo: `owner/name`, made if missing.
        private: only for those whom its owner lets in.
        report: the `report.json` of `dbaf evaluate` with these weights, for the card.

    Raises:
        WeightsError: other files, a missing or altered shard, a report on other weights, no access, or a repository
            that everybody can read where `private` is asked for. Nothing is uploaded then.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    name = parse(repo)
    if name is None or name != HubName(repo):
        raise WeightsError(f"'{repo}' is no repository on the Hugging Face Hub: give owner/name.")
    shards = checked(folder)
    card = model_card(folder, repo, None if report is None else _report(report, folder))
    files = [MANIFEST, *shards, *(["LICENSE"] if (folder / "LICENSE").is_file() else [])]
    api = HfApi()
    try:
        api.create_repo(repo, private=private or None, exist_ok=True)
        if private and not api.model_info(repo).private:
            raise WeightsError(f"{repo} is there already and not private. Nothing was uploaded: make it private first.")
        additions = [CommitOperationAdd(file, folder / file) for file in files]
        old = [file for file in api.list_repo_files(repo) if file.endswith(".safetensors") and file not in shards]
        commit = api.create_commit(
            repo,
            [
                *additions,
                CommitOperationAdd("README.md", card.encode()),
                *(CommitOperationDelete(file) for file in old),
            ],
            commit_message=f"Upload a DBAF bundle, manifest {bundle_digest(str(folder))[:12]}",
        )
    except WeightsError:
        raise
    except Exception as error:  # OSError, ValueError, and those of whatever HTTP library huggingface_hub uses
        raise WeightsError(
            f"Cannot publish {folder} as {repo}: {explain(error, name)}. "
            "It takes a token with write access in HF_TOKEN."
        ) from error
    return Published(HubName(repo, commit.oid), [*files, "README.md"])


def checked(folder: Path) -> list[str]:
    """Names of a bundle's shards, after a look at every file of the folder.

    Raises:
        WeightsError: a file that is no part of a bundle, or a missing or altered shard.
    """
    shards = read_manifest(folder)["shards"]
    others = sorted({path.name for path in folder.iterdir()} - {MANIFEST, *shards, *TEXTS})
    if others:
        raise WeightsError(
            f"{folder} holds what is no part of a bundle: {', '.join(others)}. "
            "Nothing was uploaded: take it away first."
        )
    for name, entry in shards.items():
        check_shard(folder / name, entry)
    return list(shards)


def _report(path: Path, folder: Path) -> dict:
    """A report of `dbaf evaluate` on these weights."""
    try:
        report = json.loads(path.read_text())
        measured = report["model"]["manifest_sha256"]
        report["methods"]["dbaf"], report["recogniser"]["withheld"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{path} is no report.json of 'dbaf evaluate'.") from error
    if measured != bundle_digest(str(folder)):
        raise WeightsError(f"{path} is about other weights: its manifest_sha256 is not that of {folder / MANIFEST}.")
    return dict(report)
