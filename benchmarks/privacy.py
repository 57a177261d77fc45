"""Privacy, utility and speed of a model on real and on generated people, as one JSON report.

    python benchmarks/privacy.py --lfw LFW --portraits PORTRAITS --count 500 --jobs 2 --out benchmarks/privacy.json
    python benchmarks/privacy.py --lfw LFW --count 200 --looks free --jobs 2 --out benchmarks/privacy-free.json

LFW: a folder a person, photos in it (Labeled Faces in the Wild; use people that training has not seen). Two photos each
of `count / 2` people are pseudonymised; all photos give the threshold and are the gallery. PORTRAITS: a folder of
photos, every one of another person. The key is fixed and public. The work is done as for `dbaf evaluate`.

Results a photo are kept in --cache, so that an interrupted run goes on where it stopped; they hold face embeddings and
small pictures of real people: keep that folder private. The report holds none.
"""

import argparse
import tempfile
from pathlib import Path
from typing import Any

from dbaf.evaluation.cache import Cache
from dbaf.evaluation.dataset import choose, photos_in
from dbaf.evaluation.methods import public_key
from dbaf.evaluation.report import heading, lines, methods_json, recogniser_json, write_json
from dbaf.evaluation.run import Setup, measure
from dbaf.progress import progress_bar


def main() -> None:
    arguments = parse()
    setup = Setup(
        public_key,
        arguments.model,
        arguments.device,
        peers=arguments.peers,
        refine_steps=arguments.refine_steps,
        keep_looks=arguments.looks == "keep",
    )
    report: dict[str, Any] = heading(setup)
    sets = {"lfw": (arguments.lfw, arguments.count), "portraits": (arguments.portraits, None)}
    for name, (folder, count) in sets.items():
        if folder is None:
            continue
        photos = photos_in(folder, arguments.cache)
        chosen = choose(photos, count)[: arguments.limit]
        with progress_bar(name, len(photos)) as (update, _):
            measured = measure(
                name,
                photos,
                chosen,
                setup,
                Cache(arguments.cache),
                arguments.jobs,
                lambda done, total, label, name=name: update(done, total, f"{name} {label}"),  # type: ignore[misc]
            )
        recogniser, methods = recogniser_json(measured, setup), methods_json(measured, setup)
        report.setdefault("recogniser", recogniser)
        report[name] = {
            "recogniser": recogniser,
            **methods.pop("dbaf"),
            "peers": methods,
            "problems": measured.problems,
        }
        write_json(arguments.out, report)
        print(f"\n{name}")
        print("\n".join(lines({"recogniser": recogniser, "methods": {"dbaf": report[name]} | methods})), flush=True)
    print(f"Written: {arguments.out}")


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lfw", type=Path, required=True, help="folder of folders of photos, one a person")
    parser.add_argument("--portraits", type=Path, help="folder of photos of different people")
    parser.add_argument("--count", type=int, default=300, help="photos of LFW, two a person")
    parser.add_argument("--limit", type=int, help="only so many photos of each set, to try things out")
    parser.add_argument("--peers", action="store_true", help="also blur, pixelation, a black box and the tool deface")
    parser.add_argument("--model", default="mobile", help="name or folder of the model bundle")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--refine-steps", type=int, default=0, help="as for dbaf anonymize")
    parser.add_argument("--looks", choices=("keep", "free"), default="keep", help="as for dbaf anonymize")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "dbaf-evaluation")
    parser.add_argument("--out", type=Path, default=Path(__file__).with_name("privacy.json"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
