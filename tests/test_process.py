"""What the command line sets for its process."""

import os
import subprocess
import sys

import pytest

from dbaf.process import share_cores


def test_threads_share_cores_unless_the_user_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    for given in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY"):
        monkeypatch.delenv("GOMP_SPINCOUNT", raising=False)
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        monkeypatch.setenv(given, "7")
        share_cores()
        assert {name: os.environ.get(name) for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")} == {
            "GOMP_SPINCOUNT": "7" if given == "GOMP_SPINCOUNT" else None,
            "OMP_WAIT_POLICY": "7" if given == "OMP_WAIT_POLICY" else None,
        }


def test_it_is_set_before_torch_reads_it() -> None:
    code = """
import os, sys, dbaf.cli
dbaf.cli.app = lambda: print("torch" in sys.modules, os.environ["GOMP_SPINCOUNT"])
dbaf.cli.main()
"""
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    made = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert made.stdout.split() == ["False", "1000"]
