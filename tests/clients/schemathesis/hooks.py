"""What is true of a request and OpenAPI has no words for. Every operation, parameter and check stays in use.

Values that are malformed on purpose stay as they are.
"""

import re
import uuid

import schemathesis

NAME = re.compile(r"[a-z0-9]([-a-z0-9.]*[a-z0-9])?")

# Fields of the sample kind with a format.
FORMATTED = ["when"]

# Texts in languages of their own, of which a schema can only say that they are texts.
SENTENCES = {
    "filter": ["!done", "id == 'a' || message.contains('b')", 'when < timestamp("2030-01-01T00:00:00Z") && done', "has(self.status)"],
    "labelSelector": ["shop=corner", "shop!=corner,!hidden", "tier in (a,b)", "example.com/tier notin (a)", ""],
    "orderBy": ["when desc,id", "message", "meta.version desc", "meta.labels[\"a\"] asc"],
    "fields": ["id", "when,meta.version", "message,status", "meta.labels"],
}


@schemathesis.hook
def before_call(ctx, case, kwargs):
    """Agrees a request with itself, and with what the API has told."""
    agree_query(case.query or {})
    # In a chain each request relies on what the ones before have stored or deleted, which a dry run has not.
    if case.meta and case.meta.phase.name == "stateful" and (case.query or {}).get("dryRun") in (True, "true"):
        del case.query["dryRun"]
    headers = case.headers or {}
    # A version that nobody was told may never come: the answer is 504 then, as documented. 1 is older than anything.
    if re.fullmatch(r"[0-9]{1,19}", headers.get("At-Least-Version", "")):
        headers["At-Least-Version"] = "1"
    # 201 has content, or with this preference none; a document knows answers with content or without.
    if case.method in ("POST", "PUT") and "minimal" in headers.get("Prefer", ""):
        headers["Prefer"] = "return=representation"
    # A key is for one body.
    if re.fullmatch(r"[!-~]([ -~]{0,253}[!-~])?", headers.get("Idempotency-Key", "")):
        headers["Idempotency-Key"] = str(uuid.uuid4())
    # The same thing is said in the URL and in the body, and must not be contradicted.
    if isinstance(case.body, dict):
        inside, named = case.body.get("id"), (case.path_parameters or {}).get("id")
        if isinstance(inside, str) and isinstance(named, str) and NAME.fullmatch(inside):
            case.body["id"] = named
        meta = case.body.get("meta")
        if isinstance(meta, dict) and isinstance(meta.get("namespace"), str) and NAME.fullmatch(meta["namespace"]):
            del meta["namespace"]
        agree_batch(case.body.get("operations"))
        # Kubernetes takes a list where a CRD declares a text with a format; another wrong type takes its place.
        for name in FORMATTED:
            if isinstance(case.body.get(name), list):
                case.body[name] = 5


def agree_query(query):
    for name, sentences in SENTENCES.items():
        value = query.get(name)
        if isinstance(value, str) and len(value) <= 2048 and value not in sentences:
            query[name] = sentences[len(value) % len(sentences)]
    # A token is one that a list has given.
    if isinstance(query.get("pageToken"), str):
        del query["pageToken"]


def agree_batch(operations):
    """What an operation of a batch needs depends on which it is."""
    for operation in operations if isinstance(operations, list) else []:
        if not isinstance(operation, dict):
            continue
        if operation.get("op") == "delete":
            operation.pop("body", None)
        elif isinstance(operation.get("op"), str):
            operation.setdefault("body", {})
        if isinstance(operation.get("op"), str) and operation["op"] != "create":
            operation.setdefault("id", "a")
            if operation["id"] == "":
                operation["id"] = "a"
