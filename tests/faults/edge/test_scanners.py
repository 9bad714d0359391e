"""What other people's scanners say of the front doors: sslyze against Mozilla's intermediate profile, testssl."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding

from tests.edge.conftest import A

pytestmark = pytest.mark.long

SSLYZE = (
    Path(__file__).parents[3] / "var" / "sslyze"
)  # (1) its own: it pins libraries that we use newer
RSA = "rsa.acme.test"
OF_THE_TEST_CA = {"certificate_path_validation", "cert_revocation"}  # no public root, no CRL


@pytest.fixture(scope="module")
def door(edges):
    edge = edges.make()
    edge.publisher.publish(A, hsts="63072000")
    leaf = edge.publisher.authority.leaf(RSA, kind="rsa")
    edge.settle(edge.publisher.publish(RSA, leaf=leaf, hsts="63072000"))
    return edge


@pytest.fixture(scope="module")
def sslyze():
    program = SSLYZE / "bin" / "sslyze"
    if not program.exists():
        subprocess.run([sys.executable, "-m", "venv", SSLYZE], check=True)
        pip = [SSLYZE / "bin" / "python", "-m", "pip", "install", "--quiet", "sslyze>=6.3,<7"]
        subprocess.run(pip, check=True)
    return program


@pytest.mark.parametrize("hostname", [A, RSA])
def test_sslyze_finds_mozillas_intermediate_profile(door, sslyze, hostname):
    target = f"{hostname}:{door.https}{{127.0.0.1}}"
    argv = [sslyze, "--mozilla_config=intermediate", target]
    text = subprocess.run(argv, capture_output=True, text=True, timeout=200).stdout
    verdict = text.partition("COMPLIANCE AGAINST TLS CONFIGURATION")[2]
    assert hostname in verdict, text
    faults = {
        line.split("*")[1].split(":")[0].strip() for line in verdict.splitlines() if "* " in line
    }
    assert faults <= OF_THE_TEST_CA, verdict


def test_testssl_finds_nothing_of_medium_or_worse(door, tmp_path):
    assert shutil.which("testssl"), "deploy/debian-packages --faults installs it"
    report, root = tmp_path / "report.json", tmp_path / "root.pem"
    root.write_bytes(door.publisher.authority.root.public_bytes(Encoding.PEM))
    argv = ["testssl", "--ip", "127.0.0.1", "--quiet", "--color", "0", "--add-ca", str(root)]
    argv += ["--jsonfile", str(report), f"{A}:{door.https}"]
    subprocess.run(argv, capture_output=True, timeout=900, stdin=subprocess.DEVNULL)
    findings = json.loads(report.read_text())
    assert {"TLS1_3", "heartbleed", "HSTS_time"} <= {f["id"] for f in findings}
    bad = [f for f in findings if f["severity"] in ("MEDIUM", "HIGH", "CRITICAL")]
    assert {f["id"] for f in bad} <= OF_THE_TEST_CA, bad
