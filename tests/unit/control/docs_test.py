#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Holds docs/openapi.yaml and docs/errors.md against the control server, which runs over fake operations.

Usage: docs_test.py FAKE_SERVER SOURCE_ROOT
"""
import http.client
import json
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import unittest
from urllib.parse import quote, urlencode

import jsonschema
import yaml

SERVER, ROOT = sys.argv.pop(1), sys.argv.pop(1)
METHODS = ("get", "put", "post", "delete", "patch", "head", "options", "trace")


def nullable(node):
    """OpenAPI 3.0 says `nullable: true` where JSON Schema has another type."""
    if isinstance(node, list):
        return [nullable(item) for item in node]
    if not isinstance(node, dict):
        return node
    node = {key: nullable(value) for key, value in node.items()}
    if node.pop("nullable", False) is True:
        node["type"] = [node["type"], "null"]
    return node


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("teal", timeout=10)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(10)
        self.sock.connect(self.path)


class Docs(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with open(f"{ROOT}/docs/openapi.yaml", encoding="utf-8") as file:
            cls.doc = yaml.safe_load(file)
        # pylint: disable-next=consider-using-with
        cls.directory = tempfile.TemporaryDirectory(prefix="teal-docs-")
        cls.socket = cls.directory.name + "/teald.sock"
        # pylint: disable-next=consider-using-with
        cls.server = subprocess.Popen([SERVER, cls.socket, cls.directory.name + "/audit.jsonl"],
                                      stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert cls.server.stdout.readline() == "ready\n", "the fake server did not start"

    @classmethod
    def tearDownClass(cls):
        cls.server.terminate()
        cls.server.wait()
        cls.server.stdout.close()
        cls.directory.cleanup()

    def ask(self, method, target, body=None):
        connection = UnixConnection(self.socket)
        try:
            connection.request(method.upper(), target, None if body is None else json.dumps(body))
            reply = connection.getresponse()
            media = reply.headers["Content-Type"]
            # A stream has no end: its beginning and one event are as good as all of it.
            text = b"".join(reply.readline() for _ in range(6)) if media == "text/event-stream" else reply.read()
            return reply.status, media, text.decode()
        finally:
            connection.close()

    def operations(self):
        for path, item in self.doc["paths"].items():
            for method, operation in item.items():
                self.assertIn(method, METHODS, path)
                yield method, path, operation

    def resolved(self, node):
        while "$ref" in node:
            target = self.doc
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            node = target
        return node

    def validator(self, schema):
        return jsonschema.Draft202012Validator(nullable({**schema, "components": self.doc["components"]}))

    def example_target(self, path, operation, leave_out=None):
        query = {}
        for parameter in map(self.resolved, operation.get("parameters", [])):
            if parameter["in"] == "path":
                path = path.replace("{%s}" % parameter["name"], quote(parameter["example"], safe=""))
            elif parameter["in"] == "query" and parameter["name"] != leave_out:
                query[parameter["name"]] = parameter["example"]
        self.assertNotIn("{", path, "a segment of the path has no parameter")
        return path + ("?" + urlencode(query) if query else "")

    def example_body(self, operation):
        if "requestBody" not in operation:
            return None
        return operation["requestBody"]["content"]["application/json"]["example"]

    def test_routes_are_those_of_the_server(self):
        routes = subprocess.run([SERVER, "--routes"], check=True, capture_output=True, text=True).stdout.splitlines()
        documented = [f"{method.upper()} {path}" for method, path, _ in self.operations()]
        self.assertEqual(sorted(routes), sorted(documented))

    def test_replies_validate(self):
        for method, path, operation in self.operations():
            with self.subTest(f"{method} {path}"):
                body = self.example_body(operation)
                if body is not None:
                    schema = operation["requestBody"]["content"]["application/json"]["schema"]
                    self.validator(schema).validate(body)
                    if not operation["requestBody"]["required"]:
                        self.assertEqual(self.ask(method, self.example_target(path, operation))[0], 200)
                if "expect_generation" in (body or {}):
                    service = self.ask("GET", "/v1/services/web")[2]
                    body = {**body, "expect_generation": json.loads(service)["generation"]}
                status, media, text = self.ask(method, self.example_target(path, operation), body)
                self.assertEqual(status, 200, text)
                self.assertEqual([media], list(operation["responses"]["200"]["content"]))
                schema = operation["responses"]["200"]["content"][media]["schema"]
                self.validator(schema).validate(json.loads(text) if media == "application/json" else text)

    def test_schemas_let_nothing_undescribed_through(self):
        """What is documented as an object names all its keys, else validation would prove nothing."""
        for name, schema in self.doc["components"]["schemas"].items():
            if schema.get("type") == "object" and name != "AuditEntry":
                self.assertIs(schema.get("additionalProperties"), False, name)
                self.assertEqual(set(schema.get("required", [])) - set(schema["properties"]), set(), name)
            jsonschema.Draft202012Validator.check_schema({**schema, "components": self.doc["components"]})

    def test_refusals_validate(self):
        validator = self.validator({"$ref": "#/components/schemas/Problem"})
        for method, path, operation in self.operations():
            target = self.example_target(path, operation)
            unknown = target + ("&" if "?" in target else "?") + "nix=1"
            for wrong, expected in ((unknown, 400), (target.replace("/v1", "/v0").replace("metrics", "metric"), 404)):
                with self.subTest(f"{method} {wrong}"):
                    status, media, text = self.ask(method, wrong, self.example_body(operation))
                    self.assertEqual((status, media), (expected, "application/problem+json"))
                    validator.validate(json.loads(text))
            self.assertEqual(self.ask("DELETE", target)[0], 405)

    def test_required_inputs_are_required(self):
        for method, path, operation in self.operations():
            for parameter in map(self.resolved, operation.get("parameters", [])):
                if parameter["in"] != "query":
                    continue
                status, _, text = self.ask(method, self.example_target(path, operation, parameter["name"]))
                self.assertEqual(status, 400 if parameter.get("required") else 200, f"{path} {parameter} {text}")
            if operation.get("requestBody", {}).get("required"):
                self.assertEqual(self.ask(method, self.example_target(path, operation))[0], 400, path)

    @unittest.skipUnless(shutil.which("promtool"), "promtool is not installed (package prometheus; scripts/deps)")
    def test_metrics_follow_the_conventions(self):
        text = self.ask("GET", "/metrics")[2]
        self.assertIn("# TYPE teal_pool_handshake_seconds histogram", text)
        said = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        self.assertEqual((said.returncode, said.stdout + said.stderr), (0, ""))

    def test_errors_page_lists_every_code(self):
        with open(f"{ROOT}/docs/errors.md", encoding="utf-8") as file:
            rows = re.findall(r"^\| ([a-z_]+) \| (\d{3}) \| (\d) \| ([^|]+) \| [^|]+ \|$", file.read(), re.M)
        listed = subprocess.run([SERVER, "--problems"], check=True, capture_output=True, text=True).stdout
        self.assertEqual([" ".join(row) for row in rows], listed.splitlines())


if __name__ == "__main__":
    unittest.main()
