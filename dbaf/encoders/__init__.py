"""Encoders: faces to W+ codes and feature maps. The config stored with the weights says which one to build."""

from collections.abc import Callable, Mapping

from dbaf.encoders.compact import CompactEncoder
from dbaf.encoders.e4e import E4E

Encoder = CompactEncoder | E4E
KINDS: Mapping[str, Callable[..., Encoder]] = {"compact": CompactEncoder, "e4e": E4E}
