"""Paths."""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[3]
STATE = REPOSITORY / "tests" / ".state"
LOGS = STATE / "logs"
SCREENSHOTS = STATE / "screenshots"
SECRETS_SEEN = STATE / "secrets-seen"
TYPESCRIPT = REPOSITORY / "tests" / "clients" / "typescript"
DPOP = REPOSITORY / "tests" / "clients" / "dpop"
CONFORMANCE = REPOSITORY / "tests" / "clients" / "conformance"
PYTHON_1 = REPOSITORY / "tests" / "clients" / "python-1.20" / "client.py"
PYTHON_1_INTERPRETER = STATE / "venv-python-1.20" / "bin" / "python"
FASTMCP = REPOSITORY / "tests" / "clients" / "fastmcp" / "server.py"
FASTMCP_INTERPRETER = STATE / "venv-fastmcp" / "bin" / "python"
REALM_FILE = REPOSITORY / "deploy" / "keycloak" / "realm.json"
BINARY = Path(os.environ.get("BINARY_UNDER_TEST", REPOSITORY / "target" / "debug" / "portcullis"))
KEYCLOAK_HOME = Path(os.environ.get("KEYCLOAK_HOME") or STATE / "keycloak")
PROVIDERS = STATE / "providers"
OIDC_PROVIDER = REPOSITORY / "tests" / "providers" / "oidc-provider"
