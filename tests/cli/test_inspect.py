"""`dbaf inspect`: what a picture carries, and no secret."""

import json
from pathlib import Path

from commands import dbaf_
from fakes import portrait


def test_inspect_tells_what_a_picture_carries_and_no_secret(tmp_path: Path, keys: list[Path]) -> None:
    source = portrait(tmp_path / "a.png", (60, 50))
    dbaf_("anonymize", source, "-o", tmp_path / "out", "--key-file", keys[0], "--seal", "embed")
    told = dbaf_("inspect", tmp_path / "out" / "a.png", source)
    assert told.exit_code == 0, told.output
    assert "unlinked" in told.output
    assert "1 recipient(s), picture unchanged" in told.output
    assert "imprints 0 of 1 faces" in told.output
    found = json.loads(dbaf_("inspect", "--json", tmp_path / "out" / "a.png").output)
    assert found["capsule"]["regions"] == [[0, 0, 60, 50]]
    secret = keys[0].read_text().split()[-2]
    assert secret not in told.output


def test_a_file_that_would_fill_the_memory_is_not_read(tmp_path: Path, keys: list[Path]) -> None:
    picture = portrait(tmp_path / "a.png")
    with (tmp_path / "a.png.dbaf").open("wb") as sidecar:
        sidecar.truncate(100 * 2**30)  # sparse
    for command in (("recover", picture, "-o", tmp_path / "back", "--key-file", keys[0]), ("inspect", picture)):
        result = dbaf_(*command)
        assert result.exit_code == 1
        assert "a.png.dbaf has 107.4 GB" in result.output
