"""The linter for infrastructure over all of Terraform's files (make checkov)."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from services.runtime.settings import PROJECT

pytestmark = pytest.mark.deploy

CHECKOV = PROJECT / ".venv-checkov" / "bin" / "checkov"
ROOT = PROJECT / "infra" / "terraform"
PATIENCE_S = 500
OPEN_TO_ALL = """
resource "aws_security_group_rule" "this" {
  type              = "ingress"
  description       = "Everybody, on the port of SSH"
  from_port         = 22
  to_port           = 22
  protocol          = "tcp"
  cidr_blocks       = ["0.0.0.0/0"]
  security_group_id = "sg-0a1b2c3d4e5f60718"
}
"""


def checked(folder: Path) -> dict[str, Any]:
    """What the linter found in a folder and in the modules it calls; it loads nothing from anywhere."""
    if not CHECKOV.exists():
        pytest.skip("checkov is not set up; `make checkov` does it")
    ended = subprocess.run(
        [CHECKOV, "-d", folder, "--framework", "terraform", "--skip-download", "--compact", "-o", "json"],
        env={**os.environ, "HCL_PARSE_TIMEOUT_SEC": "60", "LOG_LEVEL": "ERROR"},
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_S,
    )
    assert ended.stdout, ended.stderr
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_no_check_fails_that_is_not_waived_in_place() -> None:
    """And no file is passed over: what the linter cannot read it leaves out, and calls that a success."""
    found = checked(ROOT)
    assert found["results"]["parsing_errors"] == []
    failed = [(each["check_id"], each["resource"], each["check_name"]) for each in found["results"]["failed_checks"]]
    assert failed == []
    assert found["summary"]["passed"] > 300


def test_what_is_open_to_everybody_is_found(tmp_path: Path) -> None:
    """The linter works: it refuses what nobody would waive, and names the file that it cannot read."""
    (tmp_path / "main.tf").write_text(OPEN_TO_ALL)
    (tmp_path / "broken.tf").write_text("resource {")
    results = checked(tmp_path)["results"]
    assert "CKV_AWS_24" in {each["check_id"] for each in results["failed_checks"]}
    assert [Path(name).name for name in results["parsing_errors"]] == ["broken.tf"]
