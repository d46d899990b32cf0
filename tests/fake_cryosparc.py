"""A server that answers CryoSPARC's own client, with one project in memory.

The client builds its methods from what the server describes of itself, so a few lines a call do.
It shows which calls are made and with what, not that a real CryoSPARC takes them.
"""

import contextlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from urllib.parse import parse_qs, urlsplit

from cryosparc.dataset import Dataset

DATASET, STREAM = Dataset.media_type, "application/octet-stream"
PASSWORD = "a secret of mine"

JOB = "/projects/{project}/jobs/{job}"
CALLS = {
    "login": ("post", "/login", "Token"),
    "users.me": ("get", "/users/me", None),
    "config.get_version": ("get", "/config/version", None),
    "workspaces.find_one": ("get", "/projects/{project}/workspaces/{workspace}", "Workspace"),
    "jobs.find_one": ("get", JOB, "Job"),
    "jobs.load_output": ("get", JOB + "/outputs/{output}", DATASET),
    "jobs.create": ("post", "/projects/{project}/workspaces/{workspace}/jobs", "Job"),
    "jobs.add_external_input": ("post", JOB + "/inputs/{input}", "Job"),
    "jobs.add_external_output": ("post", JOB + "/outputs/{output}", "Job"),
    "jobs.connect": ("post", JOB + "/inputs/{input}/connect", "Job"),
    "jobs.mark_running": ("post", JOB + "/running", "Job"),
    "jobs.save_output": ("post", JOB + "/outputs/{output}/dataset", "Job"),
    "jobs.mark_completed": ("post", JOB + "/completed", "Job"),
    "jobs.mark_failed": ("post", JOB + "/failed", "Job"),
    "jobs.add_event_log": ("post", JOB + "/log", "TextEvent"),
    "jobs.add_image_log": ("post", JOB + "/images", "ImageEvent"),
    "assets.upload": ("post", "/projects/{project}/jobs/{job}/assets", "GridFSAsset"),
}
"""Method, path and type of the answer of each call of the client."""

QUERIES = {
    "jobs.load_output": ("slots", "version"),
    "jobs.create": ("type", "title", "description"),
    "jobs.connect": ("source_output_name", "source_job_uid"),
    "jobs.mark_running": ("status",),
    "jobs.save_output": ("version", "filename"),
    "jobs.mark_failed": ("error",),
    "jobs.add_event_log": ("type",),
    "jobs.add_image_log": ("text", "flags"),
    "assets.upload": ("filename", "format"),
}

BODIES = {
    "login": "application/x-www-form-urlencoded",
    "jobs.add_external_input": "application/json",
    "jobs.add_external_output": "application/json",
    "jobs.add_event_log": "application/json",
    "jobs.add_image_log": "application/json",
    "jobs.save_output": DATASET,
    "assets.upload": STREAM,
}


def described():
    """What the server says of itself, in the words of OpenAPI."""
    paths = {}
    for name, (method, path, answer) in CALLS.items():
        content = {"application/json": {"schema": {}}}
        if answer == DATASET:
            content = {DATASET: {"schema": {}}}
        elif answer:
            content["application/json"]["schema"] = {"$ref": f"#/components/schemas/{answer}"}
        asked = [(each, "path") for each in re.findall(r"{(\w+)}", path)]
        asked += [(each, "query") for each in QUERIES.get(name, ())]
        call = {
            "summary": name,
            "parameters": [{"name": n, "in": at, "required": at == "path"} for n, at in asked],
            "responses": {"200": {"content": content}},
        }
        if name in BODIES:
            call["requestBody"] = {"content": {BODIES[name]: {"schema": {}}}}
        paths.setdefault(path, {})[method] = call
    return {"info": {}, "components": {}, "paths": paths}


class FakeCryosparc:
    """One project, P3, with a job J42 in it, and a workspace W1.

    Attributes
    ----------
    outputs : dict of str to (Dataset, dict of slots to types)
        Of J42.
    refused : dict of str to (int, object)
        Code and body with which a call is refused, by its name.
    waits : dict of str to Event
        A call waits for its event.
    calls : list of (str, dict)
        What was called, and with what.
    saved : dict of str to Dataset
        Outputs of the External job, J50.
    log : list of (str, str)
        Kind and text of each line; pictures are bytes.
    status : str
        Of the External job.
    """

    def __init__(self):
        self.outputs, self.refused, self.waits, self.calls = {}, {}, {}, []
        self.saved, self.log, self.status, self.error = {}, [], "none", None
        self.external = {"inputs": {}, "outputs": {}}
        self.version = "v5.0.1"

    def add(self, name, dataset, **types):
        """Add an output of particles to J42; types of slots are their names where not given."""
        slots = dict.fromkeys(field.partition("/")[0] for field in dataset.fields(exclude_uid=True))
        self.outputs[name] = (dataset, {slot: types.get(slot, slot) for slot in slots})

    def job(self, name):
        """A job as the client wants it."""
        if name == "J42":
            spec = {"type": "nonuniform_refine_new", "inputs": {}}
            spec["outputs"] = {
                output: {
                    "type": "particle",
                    "title": output,
                    "num_items": len(rows),
                    "results": [{"name": slot, "dtype": kind} for slot, kind in slots.items()],
                }
                for output, (rows, slots) in self.outputs.items()
            }
        else:
            spec = {"type": "snowflake", **self.external}
        spec |= {"ui_tile_width": 1, "ui_tile_height": 1, "resource_spec": {}}
        return {
            "status_num": 0,
            "build_errors": [],
            "uid": name,
            "project_uid": "P3",
            "spec": spec,
            "job_dir": name,
            "job_dir_size_last_updated": "2026-01-01T00:00:00Z",
            "uid_num": int(name[1:]),
            "project_uid_num": 3,
        }

    def answer(self, name, given, body):
        """Answer a call."""
        if name == "login":
            return {"access_token": "t", "token_type": "bearer"}
        if name == "config.get_version":
            return self.version
        if name == "workspaces.find_one":
            return {
                "uid": given["workspace"],
                "project_uid": "P3",
                "workspace_type": "base",
                "uid_num": 1,
                "project_uid_num": 3,
            }
        if name == "jobs.create":
            self.status = "building"
            return self.job("J50")
        if name == "assets.upload":
            self.log.append(("picture", body))
            return {"fileid": "1", "filename": given["filename"], "filetype": given["format"]}
        if name in ("jobs.add_event_log", "jobs.add_image_log"):
            event = {"project_uid": "P3", "job_uid": given["job"], "type": "image", **given}
            event["flags"] = []
            event.setdefault("text", json.loads(body))
            self.log.append((event["type"], event["text"]))
            return event
        if name == "jobs.add_external_input":
            self.external["inputs"][given["input"]] = {**json.loads(body), "connections": []}
        elif name == "jobs.add_external_output":
            self.external["outputs"][given["output"]] = json.loads(body)
        elif name == "jobs.save_output":
            self.saved[given["output"]] = Dataset.load(BytesIO(body))
        elif name == "jobs.mark_running":
            self.status = "running"
        elif name == "jobs.mark_completed":
            self.status = "completed"
        elif name == "jobs.mark_failed":
            self.status, self.error = "failed", given["error"]
        return self.job(given["job"]) if "job" in given else {"name": "me"}

    def respond(self, method, target, body):
        """Code, type and bytes of an answer."""
        place = urlsplit(target)
        if place.path.endswith("/openapi.json"):
            return 200, "application/json", json.dumps(described()).encode()
        for name, (verb, path, _) in CALLS.items():
            pattern = re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path) + "$"
            found = re.search(pattern, place.path)
            if found is None or verb != method.lower():
                continue
            queries = {key: value[0] for key, value in parse_qs(place.query).items()}
            given = {**found.groupdict(), **queries}
            self.calls.append((name, given))
            if name in self.waits:
                self.waits[name].wait(60)
            if name in self.refused:
                code, reason = self.refused[name]
                return code, "application/json", json.dumps(reason).encode()
            if name == "jobs.load_output":
                rows, _ = self.outputs[given["output"]]
                return 200, DATASET, b"".join(rows.stream())
            return 200, "application/json", json.dumps(self.answer(name, given, body)).encode()
        return 404, "application/json", b'{"detail": "Not Found"}'


@contextlib.contextmanager
def serving(fake):
    """Serve on a port of this machine; yields the address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *words):
            pass

        def read_body(self):
            if self.headers.get("Transfer-Encoding") != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length", 0)))
            parts = []
            while size := int(self.rfile.readline(), 16):
                parts.append(self.rfile.read(size))
                self.rfile.readline()
            self.rfile.readline()
            return b"".join(parts)

        def do_GET(self):
            code, kind, answer = fake.respond(self.command, self.path, self.read_body())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

        do_POST = do_GET

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        for event in fake.waits.values():
            event.set()
        server.shutdown()
        server.server_close()
        thread.join()
