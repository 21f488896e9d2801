"""The examples in deploy/: they parse, and the commands that they run exist with these options."""

import configparser
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.support.processes import ROOT

DEPLOY = ROOT / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str
    # The only key that a unit repeats is Environment.
    parser.read_string(path.read_text())
    return parser


def commands() -> set[str]:
    """All command lines of Trialdeck and granian in units and services."""
    lines = {
        parser["Service"][key]
        for parser in map(unit, UNITS)
        for key in ("ExecStart", "ExecStartPre")
        if key in parser["Service"]
    }
    for name in ("migrate", "control", "worker"):
        lines.add("trialdeck " + shlex.join(COMPOSE["services"][name]["command"]))
    lines |= {
        part.strip().removeprefix("exec ") for part in COMPOSE["services"]["web"]["command"][0].split("&&")
    }
    return lines


def test_there_is_an_example_for_each_process():
    """TD-S1: `compose.yaml`, systemd units, nginx and Caddy with TLS."""
    names = {path.name for path in UNITS}
    assert names == {"trialdeck-web.service", "trialdeck-control.service", "trialdeck-worker@.service"}
    assert set(COMPOSE["services"]) == {"postgres", "valkey", "migrate", "web", "control", "worker"}


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_a_unit_has_what_systemd_needs(path):
    parser = unit(path)
    assert set(parser.sections()) == {"Unit", "Service", "Install"}
    service = parser["Service"]
    assert service["ExecStart"].startswith("/opt/trialdeck/bin/")
    assert service["EnvironmentFile"] == "/etc/trialdeck.env" and service["User"] != "root"
    folder = service["StateDirectory"]
    assert service["Environment"] == f"TRIALDECK_DATA=/var/lib/{folder}"


def test_services_wait_for_what_they_need_and_have_a_health_check():
    services = COMPOSE["services"]
    for name, service in services.items():
        assert "healthcheck" in service, name
        assert set(service.get("depends_on", {})) <= set(services)
    for name in ("web", "control", "worker"):
        assert services[name]["depends_on"]["migrate"] == {"condition": "service_completed_successfully"}
    assert "127.0.0.1" in services["web"]["ports"][0], "only the proxy reaches it"
    used = {name for service in services.values() for name in service.get("environment", {})}
    documented = (ROOT / "docs" / "admin" / "operations.md").read_text()
    assert [name for name in used if not name.startswith("POSTGRES_") and f"`{name}`" not in documented] == []


def test_a_worker_is_not_killed_while_it_drains():
    """TD-S1: what stops it waits longer than its trials may run on."""
    service = unit(DEPLOY / "systemd" / "trialdeck-worker@.service")["Service"]
    words = shlex.split(service["ExecStart"])
    drain_s = int(words[words.index("--drain") + 1])
    assert drain_s + 10 < int(service["TimeoutStopSec"])
    worker = COMPOSE["services"]["worker"]
    drain_s = int(worker["command"][worker["command"].index("--drain") + 1])
    assert drain_s + 10 < int(worker["stop_grace_period"].removesuffix("s"))


@pytest.mark.parametrize("line", sorted(commands()), ids=lambda line: " ".join(line.split()[:3]))
def test_each_command_has_these_options(line, tmp_path):
    """As far as `--help`, which comes last: what stands before it is parsed first, and an unknown option ends it."""
    program, *words = shlex.split(line.replace("%i", "default").replace("%H", "host"))
    env = {**os.environ, "TRIALDECK_DATA": str(tmp_path / "data")}
    if Path(program).name == "granian":
        argv = [sys.executable, "-m", "granian", *words, "--help"]
    else:
        assert Path(program).name == "trialdeck"
        argv = [sys.executable, "-m", "trialdeck.cli", *words, "--help"]
    done = subprocess.run(argv, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    documented = set(re.findall(r"--[a-z][a-z-]*", done.stdout))
    assert {word for word in words if word.startswith("--")} <= documented


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_a_proxy_speaks_tls_and_says_who_asked(name):
    text = "\n".join(line.split("#")[0] for line in (DEPLOY / name).read_text().splitlines())
    assert text.count("{") == text.count("}")
    assert "127.0.0.1:8000" in text and "console.example" in text and "X-Forwarded-For" in text
    if name == "nginx.conf":
        statements = [each.strip() for each in text.replace("{", ";").replace("}", ";").split(";")]
        assert "listen 443 ssl" in statements and "proxy_set_header X-Forwarded-Proto $scheme" in statements
        assert not [each for each in statements if "\n" in each], "a semicolon is missing"
