"""Stage 1: train CID on codes. DBAF (arXiv 2311.08786), with latent critics in place of rendered pictures.

    python -m dbaf.training.disentangle

w_new = I(one person) + A(another): identity must follow the first, everything else the second. Every third batch
takes both from one code, as in the paper. Half of the codes are random people's, half encoded photographs'.
Resumes from its last checkpoint. Settings: `config.toml`.
"""

import argparse
from pathlib import Path
from typing import Any

import torch

from dbaf.cid import CID
from dbaf.generators import load_generator
from dbaf.training.codes import load_codes
from dbaf.training.common import DEVICE, LICENCE, Run, settings
from dbaf.training.critics import load_critic
from dbaf.training.latent import GROUPS, contrastive, kept, off_manifold
from dbaf.training.synthetic import sample_encoded, sample_wplus
from dbaf.weights.bundle import bundle_folder, save_part


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critic", type=Path, default=Path("runs/critics.safetensors"))
    parser.add_argument("--run", type=Path, default=Path("runs/disentangle"))
    parser.add_argument("--codes", type=Path, default=Path("runs/codes.safetensors"))
    args = parser.parse_args()
    torch.manual_seed(0)
    setting = settings("disentangle")
    folder = bundle_folder("mobile")
    generator, critic = load_generator(folder), load_critic(args.critic).to(DEVICE)
    config: dict[str, Any] = {"groups": GROUPS, "dim": generator.dim, "attends": setting.attends}
    cid = CID(**config)
    cid.mean_w.copy_(generator.mean_w)
    cid.scale.copy_(critic.scale)
    cid.to(DEVICE)
    optimiser = torch.optim.AdamW(cid.parameters(), setting.peak_rate, weight_decay=0.01)
    run = Run(args.run, {"cid": cid, "optimiser": optimiser}, setting.steps)
    bank = load_codes(args.codes)

    def draw(rng: torch.Generator) -> torch.Tensor:
        """Half random people, half encoded photographs [batch, L, 512]."""
        half = setting.batch // 2
        people = [sample_wplus(generator, half, rng), sample_encoded(bank, generator.mean_w, half, rng)]
        return torch.cat(people).to(DEVICE)

    while run.step < setting.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = setting.peak_rate * min(1, (run.step + 1) / 50) * (1 - run.step / setting.steps)
        person = draw(rng)
        same = run.step % 3 == 2
        scene = person + 0.1 * critic.scale * torch.randn(person.shape, generator=rng).to(DEVICE)
        scene = scene if same else draw(rng)
        new = person - cid(person) + cid(scene)
        wanted, got = critic.identity(person), critic.identity(new)
        identity = 1 - (wanted * got).sum(1).mean()
        attributes, prior = kept(critic, new, scene), off_manifold(critic, new)
        pairs = contrastive(critic.identity(scene), got, same)
        loss = 0.5 * identity + attributes + 0.1 * pairs + 0.1 * prior
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(cid.parameters(), 1.0)
        optimiser.step()
        run.log(identity=identity, attributes=attributes, contrastive=pairs, prior=prior)
    run.save()
    save_part(folder, "cid", cid.cpu().state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
