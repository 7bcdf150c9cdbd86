"""The JavaScript that draws the page's charts: Vega with `static/charts.js`, bundled out of the installed package.

Nothing is loaded from elsewhere and nothing of it lies in this repository. Its address changes with its content, so
that a browser keeps it until the plugin or the package changes; every API server makes the same one.
"""

from __future__ import annotations

import hashlib
import json
import threading
from functools import cache
from importlib.metadata import version
from pathlib import Path

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from pipeline_tuner.charts.style import THEMES, VEGA_LITE

router = APIRouter()
_ONE_AT_A_TIME = threading.Lock()
FOR_A_YEAR = "private, max-age=31536000, immutable"


@cache
def script_name() -> str:
    """The name of the script as it is now; making it takes a second, its name does not."""
    parts = (version("vl-convert-python"), VEGA_LITE, _own_lines())
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@cache
def _own_lines() -> str:
    # On a page the ground is the page's own.
    themes = {name: {**config, "background": "transparent"} for name, config in THEMES.items()}
    drawing = (Path(__file__).parent / "static" / "charts.js").read_text(encoding="utf-8")
    return f"const THEMES = {json.dumps(themes)};\n{drawing}"


@cache
def _script() -> str:
    import vl_convert

    bundle: str = vl_convert.javascript_bundle(_own_lines(), vl_version=VEGA_LITE)
    return bundle


@router.get("/charts/{name}.js")
def script(name: str) -> Response:
    """The script, for the browser to keep."""
    if name != script_name():
        raise HTTPException(404, "No such script")
    with _ONE_AT_A_TIME:
        text = _script()
    return Response(text, media_type="text/javascript", headers={"Cache-Control": FOR_A_YEAR})
