"""Pages that need nothing else: their templates, styles, scripts and data in one file."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

_HERE = Path(__file__).parent


def environment(folder: Path) -> jinja2.Environment:
    """For the templates of a folder, which may include those that pages share."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader([folder, _HERE]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def shared(*names: str) -> str:
    """Styles or scripts that pages share, one after the other."""
    return joined(*(_HERE / name for name in names))


def joined(*paths: Path) -> str:
    """Styles or scripts, one after the other."""
    return "".join(path.read_text(encoding="utf-8") for path in paths)


def script_hash(script: str) -> str:
    """By which a content security policy lets one script run."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")


def inside_script(value: Any) -> Markup:
    """JSON that nothing in it can end the element around it."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True)
    return Markup(text.replace("<", "\\u003c"))
