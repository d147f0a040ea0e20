#!/usr/bin/env bash
# mcp (Python) 1.20.0 says that it works with pydantic >=2.11,<3, and cannot be imported beside pydantic 2.14.4: it takes a
# private function of pydantic's that is no longer there. A plain `pip install mcp==1.20.0` therefore gives a package that
# fails at its first import, client and server alike; pydantic 2.12.5 works.
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
