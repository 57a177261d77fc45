"""The model card of a bundle: README.md on the Hugging Face Hub."""

from pathlib import Path
from typing import Any

from dbaf.weights.bundle import bundle_digest, describe_parts

# The parts come under several licences, and their training data under more: one SPDX name would say too much.
FRONT = """---
license: other
license_name: per-part
license_link: https://huggingface.co/{repo}#licences
library_name: dbaf
pipeline_tag: image-to-image
tags:
- face-anonymization
- pseudonymization
- privacy
- stylegan
- comfyui
---
"""

BODY = """
# {title}

Weights for *Disentangle Before Anonymize* (DBAF, [arXiv 2311.08786](https://arxiv.org/abs/2311.08786)): every face in a
picture gets another identity under a secret key and keeps expression, pose and light; whoever has the key gets the
identity back. An encoder maps a face to a code of the generator, CID splits it into identity and attributes, KRIA
changes the identity under the key, MAAR carries details over, the generator renders the new face.

    python -m dbaf anonymize photos/ -o safe/ --key-file my.key --model {repo}

In ComfyUI: `{repo}` in the field `hub` of the node Load DBAF Model. Recover a picture with the weights that
anonymized it: write `{repo}@COMMIT` to stay with one version. Only safetensors files; their sha256 stand in
`manifest.json`, whose own is `{digest}`.

## Parts

{parts}

## Data

Generators of the StyleGAN family for faces, and what is distilled from them, learned from
[FFHQ](https://github.com/NVlabs/ffhq-dataset) (CC BY-NC-SA 4.0; single photos under licences of their own), with its
imbalances of age, origin and style; networks trained on faces that such a generator made share them. What else a part
was made from stands with its licence below.

## Figures

{figures}

## Intended use

Sharing pictures and data sets without exposing who is on them, by people who may process these pictures; research on
privacy. Look at every result before you share it: a face that the detector misses stays as it is.

## Misuse and limits

- The result is pseudonymised, not anonymous (GDPR Art. 4(5)): it stays personal data. Body, clothes and place remain.
- The new face is obfuscation by a neural network, not encryption. For that, seal the original (`--seal`).
- Not for passing somebody off as another person, not for deceiving identity checks, not for hiding who made a picture.
- The people in the results do not exist; a likeness to somebody is chance.

## Licences

{licences}

Whether the terms of training data reach the weights is not settled law. Without advice, take a part whose origin is
for non-commercial use or for research for just that.
"""


def model_card(folder: Path, repo: str, report: dict[str, Any] | None = None) -> str:
    """Markdown with the Hub's YAML head.

    Args:
        folder: of the bundle.
        repo: `owner/name` that it will have.
        report: content of `report.json` of `dbaf evaluate`.

    Raises:
        WeightsError: a file of the bundle cannot be read.
    """
    parts = describe_parts(folder)
    sizes = [f"| {name} | {part.size / 1e6:.1f} MB |" for name, part in parts.items()]
    sizes.append(f"| total | {sum(part.size for part in parts.values()) / 1e6:.1f} MB |")
    return FRONT.format(repo=repo) + BODY.format(
        title=repo.split("/")[1],
        repo=repo,
        digest=bundle_digest(str(folder)),
        parts="\n".join(["| part | size |", "|---|---|", *sizes]),
        figures="Not measured yet: `python -m dbaf evaluate`." if report is None else _figures(report),
        licences="\n".join(f"- **{name}**: {' '.join(str(part.licence).split())}" for name, part in parts.items()),
    )


def _figures(report: dict[str, Any]) -> str:
    """A table of our method's figures, with 95 % interval and n."""
    from dbaf.evaluation.report import METRICS, interval, show

    judge, figures = report["recogniser"], report["methods"]["dbaf"]
    tar = judge["tar_on_real_pairs"]
    lines = [
        f"By `dbaf evaluate` on the data set *{report['data']}*. Judged by {judge['name']}, which accepts "
        f"{show(tar, '%')} {interval(tar, '%')} of real pairs at a false acceptance rate of {judge['far']:g}.",
        "",
    ]
    if judge["withheld"]:
        lines += [f"**Privacy figures are withheld.** {judge['withheld']}", ""]
    lines += ["| | value | 95 % interval | n |", "|---|---|---|---|"]
    for metric in METRICS:
        figure = (figures[metric.section] or {}).get(metric.name)
        if figure is not None and figure["n"]:
            value = f"{show(figure, metric.form)} | {interval(figure, metric.form)} | {figure['n']}"
            lines.append(f"| {metric.title.strip()} | {value} |")
    return "\n".join(lines)
