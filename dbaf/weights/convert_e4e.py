"""e4e and its IR-SE50 backbone into parts of a bundle.

python -m dbaf weights convert e4e e4e_ffhq_encode.pt OUT        part `encoder`; github.com/omertov/encoder4editing
python -m dbaf weights convert irse50 model_ir_se50.pth OUT      part `backbone`, to train an encoder from;
                                                                 github.com/TreB1eN/InsightFace_Pytorch
"""

from pathlib import Path

import torch

from dbaf.encoders.e4e import E4E
from dbaf.encoders.irse50 import IRSE50, REPEATS
from dbaf.errors import WeightsError
from dbaf.weights.checkpoint import (
    Converted,
    Rules,
    check,
    digest,
    read_checkpoint,
    rename,
    shape,
    state_dict,
    write_parts,
)

LICENCE = "MIT, e4e by Omer Tov et al.; trained on FFHQ, whose data are CC-BY-NC-SA-4.0; starts from IR-SE50, see there"
BACKBONE_LICENCE = "MIT code, IR-SE50 of InsightFace_Pytorch by TreB1eN; weights for research"


def _backbone_rules() -> Rules:
    """Names of the released IR-SE50 -> ours. Batch counters of its normalisations matter to nobody."""
    rules: list[tuple[str, str | None]] = [(r".*\.num_batches_tracked", None), (r"input_layer\.(.+)", r"stem.\1")]
    number = 0
    for index, repeats in enumerate(REPEATS):
        for block in range(repeats):
            theirs, ours = rf"body\.{number}", f"stages.{2 ** (index + 1)}.{block}"
            rules += [
                (rf"{theirs}\.shortcut_layer\.(.+)", rf"{ours}.shortcut.\1"),
                (rf"{theirs}\.res_layer\.5\.fc1\.weight", f"{ours}.residual.5.squeeze.weight"),
                (rf"{theirs}\.res_layer\.5\.fc2\.weight", f"{ours}.residual.5.excite.weight"),
                (rf"{theirs}\.res_layer\.([0-4]\..+)", rf"{ours}.residual.\1"),
            ]
            number += 1
    return rules


def convert_irse50(source: Path, out: Path, half: bool = False) -> None:
    """Write the part `backbone` of the bundle `out`.

    Args:
        source: `model_ir_se50.pth`. Its output layer, which makes an embedding of the last map, is dropped.
        out: bundle folder, made if missing.
        half: store the tensors as fp16.

    Raises:
        WeightsError: the file is not what it should be; nothing is written.
    """
    state = state_dict(source, read_checkpoint(source))
    width = shape(source, state, "input_layer.0.weight", 4)[0]
    rules = [(r"output_layer\.[034]\.(?:weight|bias|running_mean|running_var)", None), *_backbone_rules()]
    with torch.device("meta"):
        network = IRSE50(width)
    tensors = check(source, rename(source, state, rules), network)
    config = {"kind": "irse50", "width": width}
    write_parts(out, [Converted("backbone", tensors, config, BACKBONE_LICENCE, digest(source))], half)


def convert_e4e(source: Path, out: Path, half: bool = False) -> None:
    """Write the part `encoder` of the bundle `out`.

    Args:
        source: .pt file with `opts`, `state_dict` and `latent_avg`. The generator in it, which renders what e4e
            encodes, is dropped.
        out: bundle folder, made if missing.
        half: store the tensors as fp16.

    Raises:
        WeightsError: the file is not what it should be; nothing is written.
    """
    checkpoint = read_checkpoint(source)
    state = state_dict(source, checkpoint, "state_dict")
    options = checkpoint.get("opts")
    kind = options.get("encoder_type") if isinstance(options, dict) else None
    if not isinstance(options, dict) or kind != "Encoder4Editing":
        raise WeightsError(f"{source} holds an encoder of the type {kind!r} instead of 'Encoder4Editing'.")
    width = shape(source, state, "encoder.input_layer.0.weight", 4)[0]
    dim = shape(source, state, "encoder.styles.0.linear.weight", 2)[0]
    styles = len({name.split(".")[2] for name in state if name.startswith("encoder.styles.")})
    rules: list[tuple[str, str | None]] = [
        (r"decoder\..+", None),
        (r"encoder\.styles\.(\d+\.(?:convs\.\d+|linear)\.(?:weight|bias))", r"blocks.\1"),
        (r"encoder\.latlayer1\.(weight|bias)", r"lateral.32.\1"),
        (r"encoder\.latlayer2\.(weight|bias)", r"lateral.64.\1"),
        *((rf"encoder\.{theirs}", ours and f"backbone.{ours}") for theirs, ours in _backbone_rules()),
    ]
    tensors = rename(source, state, rules)
    tensors["mean_wplus"] = _latent_avg(source, checkpoint, options, styles, dim)
    config = {"styles": styles, "width": width, "dim": dim}
    with torch.device("meta"):
        network = E4E(**config)
    tensors = check(source, tensors, network)
    write_parts(out, [Converted("encoder", tensors, {"kind": "e4e"} | config, LICENCE, digest(source))], half)


def _latent_avg(source: Path, checkpoint: dict, options: dict, styles: int, dim: int) -> torch.Tensor:
    """What the encoder's styles are added to [L, dim]: released as one latent or one a style, or not used."""
    if not options.get("start_from_latent_avg", False):
        return torch.zeros(styles, dim)
    mean = checkpoint.get("latent_avg")
    if not isinstance(mean, torch.Tensor) or mean.shape not in {(dim,), (1, dim), (styles, dim)}:
        raise WeightsError(f"{source} holds no 'latent_avg' of {styles} x {dim}, to which its encoder adds.")
    return mean.expand(styles, dim)
