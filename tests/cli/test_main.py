"""The program by itself: it starts without torch."""

import os
import subprocess
import sys
from pathlib import Path

import dbaf.files


def test_help_and_key_new_start_without_torch(tmp_path: Path) -> None:
    program = (
        "import sys; sys.argv = ['dbaf', 'key', 'new', sys.argv[1]]\n"
        "from dbaf.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code\n"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "key")], check=True, env=_environment())
    result = subprocess.run(
        [sys.executable, "-m", "dbaf", "--help"], check=True, capture_output=True, text=True, env=_environment()
    )
    for command in ("anonymize", "recover", "reconstruct", "weights", "key", "demo"):
        assert command in result.stdout


def _environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(Path(dbaf.files.__file__).parents[1])}
