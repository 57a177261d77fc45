"""DBAF: give every face in a picture another realistic identity under a secret key, and bring it back with the key.

    from dbaf import Key, Pipeline
    pipeline = Pipeline.from_pretrained("mobile")
    result = pipeline.anonymize(image, Key.from_file("my.key"))

Method: "Disentangle Before Anonymize", arXiv 2311.08786.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dbaf.keys import Key
    from dbaf.pipeline import Pipeline
    from dbaf.stages import Result

__all__ = ["Key", "Pipeline", "Result"]


def __getattr__(name: str) -> Any:
    """Import on first use: `dbaf --help` should not wait for torch."""
    if name == "Key":
        from dbaf.keys import Key

        return Key
    if name == "Pipeline":
        from dbaf.pipeline import Pipeline

        return Pipeline
    if name == "Result":
        from dbaf.stages import Result

        return Result
    raise AttributeError(f"module 'dbaf' has no attribute '{name}'")
