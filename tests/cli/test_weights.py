"""`dbaf weights`: the list, and the converters."""

import sys
from pathlib import Path

import pytest
from commands import dbaf_

from dbaf.cli.weights import CONVERTERS, Kind


def test_weights_list_and_convert(tmp_path: Path) -> None:
    result = dbaf_("weights", "list")
    assert result.exit_code == 0
    assert "mobile" in result.output
    assert "FILE MISSING" not in result.output
    (tmp_path / "no wheel").write_bytes(b"x")
    result = dbaf_("weights", "convert", "mobilestylegan", tmp_path / "no wheel", tmp_path / "out")
    assert result.exit_code == 1
    assert "Error:" in result.output
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("kind", Kind)
def test_every_converter_exists(kind: Kind) -> None:
    module, function = CONVERTERS[kind]
    __import__(module)
    assert callable(getattr(sys.modules[module], function))
