"""/docs: the OpenAPI document as a page of our own; nothing is fetched from elsewhere."""

from __future__ import annotations

import re
from typing import Any, cast

from flask import Blueprint, Response, current_app, render_template_string

blueprint = Blueprint("documentation", __name__)

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{{ spec.info.title }}</title>
<meta name="viewport" content="width=device-width">
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
details{border:1px solid #ccc;border-radius:4px;margin:.4rem 0;padding:.3rem .8rem}
summary{cursor:pointer}code,pre{font:13px/1.4 ui-monospace,monospace}
.verb{display:inline-block;width:4.5rem;font-weight:bold;text-transform:uppercase}
table{border-collapse:collapse}td,th{text-align:left;padding:.15rem .8rem .15rem 0;vertical-align:top}
@media(prefers-color-scheme:dark){body{background:#181818;color:#ddd}details{border-color:#555}}
</style></head><body>
<h1>{{ spec.info.title }} <small>{{ spec.info.version }}</small></h1>
<p>Send <code>Authorization: Bearer …</code>; tokens are made by <code>edgectl token create NAME</code>.
The same as a document: <a href="openapi.json">openapi.json</a>.</p>
{% for path, operations in spec.paths.items() %}{% for verb, operation in operations.items()
 if verb in ("get", "put", "post", "patch", "delete") %}
<details><summary><span class="verb">{{ verb }}</span><code>{{ path }}</code>
 — {{ operation.summary or "" }}</summary>
{% set parameters = (operations.parameters or []) + (operation.parameters or []) %}
{% if parameters %}<table><tr><th>parameter<th>in<th>type{% for p in parameters %}
<tr><td><code>{{ p.name }}</code><td>{{ p["in"] }}<td>{{ (p.schema or {}).type or "" }}
{{ (p.schema or {}).enum or "" }}{% endfor %}</table>{% endif %}
{% if operation.requestBody %}<p>Body:</p><pre>{{ operation.requestBody.content | tojson(1) }}</pre>{% endif %}
<table><tr><th>answer<th>{% for code, answer in operation.responses.items() %}
<tr><td>{{ code }}<td>{{ answer.description or "" }}{% endfor %}</table>
</details>{% endfor %}{% endfor %}
<h2>Shapes</h2>
{% for name, schema in spec.components.schemas.items() %}
<details id="{{ name }}"><summary><code>{{ name }}</code></summary>
<pre>{{ schema | tojson(1) }}</pre></details>{% endfor %}
</body></html>
"""


def name_operations(paths: dict[str, Any]) -> None:
    """Give each operation an id, which a generated client makes its method's name: `put_virtualhosts_hostname`."""
    for path, operations in paths.items():
        words = re.sub(r"\W+", "_", path.removeprefix("/api/v1")).strip("_")
        for method, operation in operations.items():
            if method != "parameters":
                operation.setdefault("operationId", f"{method}_{words}")


@blueprint.get("/docs")
def page() -> Response:
    """Every path with its parameters, bodies and answers."""
    api = cast(Any, current_app.extensions["flask-smorest"]["apis"][""]["ext_obj"])
    response = Response(render_template_string(PAGE, spec=api.spec.to_dict()))
    response.headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    return response
