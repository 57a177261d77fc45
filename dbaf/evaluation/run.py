"""Every photo through every method, in one or several processes, resumable."""

import multiprocessing
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import torch

from dbaf.errors import DbafError, PictureError
from dbaf.evaluation.cache import Cache, method_version, original_version
from dbaf.evaluation.calibration import Calibration, calibration_for
from dbaf.evaluation.dataset import Photo
from dbaf.evaluation.examine import Judges, examine, look_at_original
from dbaf.evaluation.methods import GROUPS, Dbaf, Method
from dbaf.evaluation.peers import peers
from dbaf.evaluation.recogniser import load_recogniser
from dbaf.keys import Key
from dbaf.pipeline import Pipeline
from dbaf.process import keep_freed_memory

Progress = Callable[[int, int, str], None]  # photos done, photos in all, label of the last one


@dataclass(frozen=True)
class Setup:
    """What is evaluated and how; goes to other processes, so it says where the key is and never holds it.

    Attributes:
        key: opens the key, in every process anew.
        model, device: as for `Pipeline.from_pretrained`.
        recogniser: a plug-in file, see `dbaf.evaluation.recogniser`; None: the shipped one.
        peers: also measure the other methods that can run here.
        refine_steps, keep_looks: as for `Pipeline.anonymize`.
    """

    key: Callable[[], Key]
    model: str = "mobile"
    device: str = "auto"
    recogniser: Path | None = None
    peers: bool = False
    refine_steps: int = 0
    keep_looks: bool = True

    def open(self) -> tuple[Judges, list[Method]]:
        """Load everything. Raises WeightsError, SecretError, or DbafError for a plug-in that does not load."""
        pipeline = Pipeline.from_pretrained(self.model, self.device)
        ours = Dbaf(pipeline, self.key(), self.refine_steps, self.keep_looks)
        methods: list[Method] = [ours, *(peers() if self.peers else [])]
        return Judges.load(pipeline, load_recogniser(self.recogniser)), methods

    def versions(self) -> dict[str, str]:
        """Where the cache keeps records, by name of the method; of the originals under `original`."""
        key = self.key()
        names = ["dbaf", *(method.name for method in peers() if self.peers)]
        ours = (self.refine_steps, self.keep_looks)
        methods = {name: method_version(name, self.model, self.recogniser, key, *ours) for name in names}
        key.wipe()
        return {"original": original_version(self.model, self.recogniser)} | methods


@dataclass(frozen=True)
class Job:
    """One photo, and the group whose key it gets; None: only the original is looked at."""

    photo: Photo
    group: int | None

    def names(self, versions: dict[str, str]) -> dict[str, str]:
        """Names of the records that the job makes, by method."""
        digest = self.photo.digest[:32]
        if self.group is None:
            return {"original": digest}
        return {method: digest if method == "original" else f"{digest}-{self.group}" for method in versions}


@dataclass
class Measured:
    """All records of a data set.

    Attributes:
        gallery: photos with a face of the whole set, their embeddings [N, D] in `embeddings`.
        chosen: the photos that went through the methods, those without a face too.
        records: by method, a record for each of `chosen`; None where there is none.
        problems: what went wrong, for people.
    """

    gallery: list[Photo]
    embeddings: torch.Tensor
    chosen: list[Photo]
    records: dict[str, list[dict[str, Any] | None]]
    calibration: Calibration
    problems: list[str] = field(default_factory=list)


def measure(
    data: str,
    photos: Sequence[Photo],
    chosen: Sequence[Photo],
    setup: Setup,
    cache: Cache,
    jobs: int = 1,
    progress: Progress | None = None,
) -> Measured:
    """Work through a data set; what the cache has is not worked out again.

    Args:
        data: name of the data set.
        photos: all of it: they give the threshold, and the gallery in which outputs are looked up.
        chosen: those of them that go through the methods.
        setup: what to evaluate.
        cache: where records are and will be.
        jobs: processes.
        progress: called after every photo.

    Raises:
        DbafError: a key, weights or a recogniser do not load, or no photo has a face.
    """
    versions = setup.versions()
    people = dict.fromkeys(photo.person for photo in chosen)
    groups = {person: number % GROUPS for number, person in enumerate(people)}
    marked = set(chosen)
    planned = [Job(photo, groups[photo.person]) for photo in chosen]
    planned += [Job(photo, None) for photo in photos if photo not in marked]
    problems: dict[str, list[str]] = {}
    missing = []
    for job in planned:
        try:
            if not _complete(job, versions, cache):
                missing.append(job)
        except PictureError as error:
            problems[job.photo.label] = [_told(job.photo, str(error))]
    done = len(planned) - len(missing)
    if progress:
        progress(done, len(planned), "")
    for job, errors in _work(missing, setup, versions, cache, jobs):
        done += 1
        if errors:
            problems[job.photo.label] = [_told(job.photo, error) for error in errors]
        if progress:
            progress(done, len(planned), job.photo.label)
    return _collect(data, photos, chosen, groups, setup, versions, cache, problems)


def _told(photo: Photo, problem: str) -> str:
    """A problem without the place of the data set: reports travel."""
    short = problem.replace(str(photo.path), photo.label)
    return short if photo.label in short else f"{photo.label}: {short}"


def _collect(
    data: str,
    photos: Sequence[Photo],
    chosen: Sequence[Photo],
    groups: dict[str, int],
    setup: Setup,
    versions: dict[str, str],
    cache: Cache,
    problems: dict[str, list[str]],
) -> Measured:
    originals = {}
    for photo in photos:
        with suppress(PictureError):  # it could not be read: that was told
            record = cache.get(versions["original"], photo.digest[:32])
            if record is not None:
                originals[photo] = record
    gallery = [photo for photo, record in originals.items() if record["faces"]]
    if not gallery:
        listed = "".join(f"\n  {line}" for lines in list(problems.values())[:5] for line in lines)
        raise PictureError(f"None of the {len(photos)} photos of {data} has a face that can be found.{listed}")
    embeddings = torch.tensor([originals[photo]["embedding"] for photo in gallery], dtype=torch.float64)
    calibration = calibration_for(
        load_recogniser(setup.recogniser), embeddings, [photo.person for photo in gallery], data
    )
    kept = [photo for photo in chosen if photo in originals]  # the others could not be read
    records: dict[str, list[dict[str, Any] | None]] = {}
    for method, version in versions.items():
        if method != "original":
            names = [f"{photo.digest[:32]}-{groups[photo.person]}" for photo in kept]
            records[method] = [
                cache.get(version, name) if originals[photo]["faces"] else originals[photo]
                for photo, name in zip(kept, names, strict=True)
            ]
    return Measured(
        gallery, embeddings, kept, records, calibration, [line for lines in problems.values() for line in lines]
    )


def _complete(job: Job, versions: dict[str, str], cache: Cache) -> bool:
    names = job.names(versions)
    original = cache.get(versions["original"], names["original"])
    if original is None:
        return False
    return not original["faces"] or all(cache.get(versions[method], name) is not None for method, name in names.items())


def _work(
    missing: list[Job], setup: Setup, versions: dict[str, str], cache: Cache, jobs: int
) -> Iterator[tuple[Job, list[str]]]:
    """Do the jobs, in any order; with each, what went wrong."""
    if jobs == 1 or len(missing) < 2:
        worker = Worker(setup, versions, cache)
        for job in missing:
            yield job, worker.do(job)
        return
    threads = max(1, torch.get_num_threads() // jobs)
    # spawn: a forked process would inherit locked thread pools
    context = multiprocessing.get_context("spawn")
    start = (setup, versions, cache, threads)
    queue = iter(missing)
    running: dict[Future[list[str]], Job] = {}
    with ProcessPoolExecutor(min(jobs, len(missing)), context, _start, start) as pool:
        try:
            # one job a process at a time: after Ctrl-C those are finished and kept, and no other begins
            running = {pool.submit(_do, job): job for job in islice(queue, jobs)}
            while running:
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    job = running.pop(future)
                    running |= {pool.submit(_do, following): following for following in islice(queue, 1)}
                    yield job, future.result()
        except BrokenProcessPool as error:
            raise DbafError("A process died, perhaps for want of memory. Try again with fewer --jobs.") from error


class Worker:
    """One process's networks, loaded when the first job comes."""

    def __init__(self, setup: Setup, versions: dict[str, str], cache: Cache) -> None:
        self.setup, self.versions, self.cache = setup, versions, cache
        self.opened: tuple[Judges, list[Method]] | None = None

    def do(self, job: Job) -> list[str]:
        """Make the records of a job that the cache lacks; returns what went wrong, a method at a time."""
        if self.opened is None:
            self.opened = self.setup.open()
        judges, methods = self.opened
        names = job.names(self.versions)
        try:
            original = look_at_original(job.photo.path, judges)
        except PictureError as error:
            return [str(error)]
        self.cache.put(self.versions["original"], names["original"], original.record)
        problems: list[str] = []
        if job.group is None or not original.faces:
            return problems
        for method in methods:
            version, name = self.versions[method.name], names[method.name]
            if self.cache.get(version, name) is None:
                try:
                    record = examine(original, method, judges, job.group)
                except (DbafError, RuntimeError, ValueError, MemoryError) as error:  # the others go on
                    problems.append(f"{method.name}: {error}")
                    continue
                self.cache.put(version, name, record)
        return problems


_worker: Worker | None = None


def _start(setup: Setup, versions: dict[str, str], cache: Cache, threads: int) -> None:
    global _worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the first process decides
    torch.set_num_threads(threads)
    keep_freed_memory()
    _worker = Worker(setup, versions, cache)


def _do(job: Job) -> list[str]:
    assert _worker is not None
    return _worker.do(job)
