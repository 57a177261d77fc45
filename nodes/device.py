"""Where the networks lie: ComfyUI's memory management may move them off the GPU for other models, and back."""

import weakref

import torch
from comfy.model_management import load_models_gpu, unet_offload_device
from comfy.model_patcher import ModelPatcher
from torch import nn

from dbaf.pipeline import Pipeline

_patchers: "weakref.WeakKeyDictionary[Pipeline, ModelPatcher]" = weakref.WeakKeyDictionary()


class DbafNetworks(nn.ModuleList):
    """All networks of a pipeline. ComfyUI shows the name in its log and hangs its own notes on the instance."""


def ready(model: Pipeline) -> None:
    """Bring the networks to their device; ComfyUI makes room for them first. Every node that runs them calls this."""
    with torch.inference_mode(False):  # weights moved in it could not take part in `refine`
        if model not in _patchers:
            networks = DbafNetworks(part for part in vars(model).values() if isinstance(part, nn.Module))
            _patchers[model] = ModelPatcher(networks, load_device=model.device, offload_device=unet_offload_device())
        load_models_gpu([_patchers[model]], force_full_load=True)  # they cannot run with a part of them on the CPU
