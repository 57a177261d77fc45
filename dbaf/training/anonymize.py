"""Stage 2: train KRIA on codes. DBAF (arXiv 2311.08786), with latent critics in place of rendered pictures.

    python -m dbaf.training.anonymize --steps 1500

Two keys and two wrong keys a code: the new identities differ from the original and from each other, the right key
brings the original back from a code disturbed as encoding a picture disturbs it, wrong keys give other people.
Resumes from its last checkpoint.
"""

import argparse
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F

from dbaf.cid import CID
from dbaf.generators import load_generator
from dbaf.kria import KRIA
from dbaf.training.common import Run
from dbaf.training.critics import load_critic
from dbaf.training.latent import GROUPS, apart, crowding, kept, off_manifold, random_keys
from dbaf.training.synthetic import sample_wplus
from dbaf.weights.bundle import bundle_folder, load_part, save_part

LICENCE = "Apache-2.0; trained by this project on generated faces"
PEAK_RATE = 4e-4
DISTURBANCE = 0.25  # of the deviation of w: stands for encoding the anonymized picture


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--critic", type=Path, default=Path("runs/critics.safetensors"))
    parser.add_argument("--run", type=Path, default=Path("runs/anonymize"))
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=32)
    args = parser.parse_args()
    torch.manual_seed(0)
    folder = bundle_folder("mobile")
    generator, critic = load_generator(folder), load_critic(args.critic)
    tensors, cid_config = load_part(folder, "cid")
    cid = CID(**cid_config)
    cid.load_state_dict(tensors)
    cid.eval().requires_grad_(False)
    config: dict[str, Any] = {"groups": GROUPS, "dim": generator.dim}
    kria = KRIA(GROUPS, generator.dim)
    kria.mean_w.copy_(generator.mean_w)
    kria.scale.copy_(critic.scale)
    optimiser = torch.optim.AdamW(kria.parameters(), PEAK_RATE, weight_decay=0.01)
    run = Run(args.run, {"kria": kria, "optimiser": optimiser})
    while run.step < args.steps:
        rng = torch.Generator().manual_seed(run.step)
        for group in optimiser.param_groups:
            group["lr"] = PEAK_RATE * min(1, (run.step + 1) / 50) * (1 - run.step / args.steps)
        original = sample_wplus(generator, args.batch, rng)
        attributes = cid(original)
        key1, key2, wrong1, wrong2 = (random_keys(generator, args.batch, rng) for _ in range(4))
        key1 = key1[:1].expand_as(key1) if run.step % 2 else key1  # an album: one key, many people
        anonymized = [kria(original - attributes, key) + attributes for key in (key1, key2)]
        noise = DISTURBANCE * critic.scale * torch.randn(original.shape, generator=rng)
        seen = anonymized[0] + noise  # what the encoder makes of the picture
        seen_attributes = cid(seen)
        recovered, *wrong = (kria(seen - seen_attributes, key) + seen_attributes for key in (key1, wrong1, wrong2))
        codes = torch.cat([original, *anonymized, recovered, *wrong])
        old, one, two, back, bad1, bad2 = critic.identity(codes).chunk(6)
        hiding = (apart(old, one) + apart(old, two) + apart(one, two)) / 3
        misleading = (apart(bad1, old) + apart(bad2, old) + apart(bad1, one) + apart(bad2, one) + apart(bad1, bad2)) / 5
        recovery = 1 - (old * back).sum(1).mean()
        latent = F.smooth_l1_loss(critic.features(recovered), critic.features(original))
        changed = codes[args.batch :]
        retention = kept(critic, changed, original.repeat(5, 1, 1))
        prior = off_manifold(critic, changed)
        crowd = crowding(one, old)
        loss = hiding + misleading + recovery + latent + 0.5 * retention + 0.2 * prior + crowd
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(kria.parameters(), 1.0)
        optimiser.step()
        run.log(
            hiding=hiding, wrong=misleading, recovery=recovery, latent=latent, kept=retention, prior=prior, crowd=crowd
        )
    run.save()
    save_part(folder, "kria", kria.state_dict(), config, LICENCE)


if __name__ == "__main__":
    main()
