#!/usr/bin/env bash
# mcp (Python) 1.20.0 declares pydantic >=2.11,<3, but cannot be imported with pydantic 2.14.4: it uses a private function of pydantic
# that no longer exists. A plain `pip install mcp==1.20.0` therefore installs a package whose client and server fail at import;
# pydantic 2.12.5 works.
#
# Seen on 2026-11-30:
#   pydantic 2.14.4: ImportError: cannot import name 'eval_type_backport' from 'pydantic._internal._typing_extra'
#   pydantic 2.12.5: imported
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
seen=$(
    for version in 2.14.4 2.12.5; do
        "$folder/venv/bin/pip" install -q --disable-pip-version-check "mcp==1.20.0" "pydantic==$version"
        "$folder/venv/bin/python" - "$version" <<'PYTHON'
import sys

try:
    import mcp.client.auth

    print(f"pydantic {sys.argv[1]}: imported")
except ImportError as error:
    print(f"pydantic {sys.argv[1]}: ImportError: {str(error).split(' (')[0]}")
PYTHON
    done
)
echo "$seen"
[ "$seen" = "pydantic 2.14.4: ImportError: cannot import name 'eval_type_backport' from 'pydantic._internal._typing_extra'
pydantic 2.12.5: imported" ]
