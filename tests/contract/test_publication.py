"""The contract that clients may read: valid, with what the proxy adds, and without what only the proxy needs."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from typing import Any

import jsonschema_rs
import schemathesis
from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from hospproxy.contract.page import JSON_PATH, PAGE_PATH, ContractPage
from hospproxy.contract.publication import published
from hospproxy.exchange.exchange import Exchange
from hospproxy.guard.published_contract import PublishedContract
from hospproxy.http.messages import Request, Response
from hospproxy.interfaces import IProcessor
from tests.rig import CONTRACT
from tests.stages import arrived


class PublicationTests(SynchronousTestCase):
    def test_it_is_valid_and_every_reference_leads_somewhere(self) -> None:
        document = published(CONTRACT)
        schemathesis.openapi.from_dict(document).validate()
        references = 0

        def follow(value: Any) -> None:
            nonlocal references
            if isinstance(value, dict):
                if "$ref" in value:
                    references += 1
                    found: Any = document
                    for name in value["$ref"].removeprefix("#/").split("/"):
                        found = found[name]
                for part in value.values():
                    follow(part)
            elif isinstance(value, list):
                for part in value:
                    follow(part)

        follow(document)
        self.assertGreater(references, 100)
        for schema in document["components"]["schemas"].values():
            jsonschema_rs.meta.validate(schema)

    def test_it_has_what_the_proxy_adds_and_not_what_only_it_needs(self) -> None:
        before = json.dumps(CONTRACT.document, default=str)
        document = published(CONTRACT)
        self.assertEqual(json.dumps(CONTRACT.document, default=str), before)
        self.assertNotIn("x-hospproxy", json.dumps(document))
        self.assertIn("/.hospproxy/outcomes/{reference}", document["paths"])
        create, read = document["paths"]["/notes"]["post"], document["paths"]["/notes"]["get"]
        key = {"$ref": "#/components/parameters/IdempotencyKey"}
        self.assertIn(key, create["parameters"])
        self.assertNotIn(key, read.get("parameters", []))
        self.assertIn("Age", read["responses"]["200"]["headers"])
        self.assertIn("Retry-After", document["components"]["responses"]["Later"]["headers"])


class PageTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.page = ContractPage(CONTRACT)

    def test_the_document(self) -> None:
        answer = self.page.answer(Request("GET", JSON_PATH))
        self.assertEqual(json.loads(answer.body), published(CONTRACT))
        self.assertIs(self.page.answer(Request("HEAD", JSON_PATH)), answer)
        self.assertEqual(self.page.answer(Request("POST", JSON_PATH)).status, 405)

    def test_the_page_needs_nothing_else_and_allows_only_its_own_style(self) -> None:
        answer = self.page.answer(Request("GET", PAGE_PATH))
        text = answer.body.decode()
        style = text.partition("<style>")[2].partition("</style>")[0]
        digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
        policy = (answer.headers.get(b"content-security-policy") or b"").decode()
        self.assertTrue(policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; "), policy)
        for never in ("<script", "http://", "https://", "src=", "@import", "url("):
            self.assertNotIn(never, text)
        for operation in CONTRACT.operations.values():
            self.assertIn(f"<code>{operation.method} {operation.template}</code>", text)
        self.assertIn("Idempotency-Key", text)

    def test_each_operation_is_linked_and_each_meaning_said_once(self) -> None:
        text = self.page.answer(Request("GET", PAGE_PATH)).body.decode()
        anchors = re.findall(r'<h2 id="([a-z0-9_-]+)">', text)
        self.assertEqual(len(set(anchors)), len(anchors))
        self.assertEqual(re.findall(r'<a href="#([^"]+)">', text), anchors)
        self.assertEqual(len(anchors), text.count("<h2"))
        first = text.partition("<h2")[2].partition("<h2")[0]
        self.assertIn('<th scope="row">500, 502, 504</th>', first)
        meanings = re.findall(r"<td>([^<]+)</td>", first)
        self.assertEqual(len(set(meanings)), len(meanings))

    def test_texts_of_a_contract_are_no_html(self) -> None:
        document = {**CONTRACT.document, "info": {"title": "<script>", "version": "1", "description": "<b>"}}
        page = ContractPage(evolve(CONTRACT, document=document))
        self.assertNotIn(b"<script>", page.answer(Request("GET", PAGE_PATH)).body)

    def test_to_clients_only_these_two_paths(self) -> None:
        processor = PublishedContract(self.page)
        verifyObject(IProcessor, processor)

        async def never(_exchange: Exchange) -> Response:
            raise AssertionError("it went on")

        exchange = arrived(Request("GET", JSON_PATH))
        self.assertFalse(processor.passes(exchange))
        answer = self.successResultOf(Deferred.fromCoroutine(processor.process(exchange, never)))
        self.assertEqual(answer.status, 200)
        for other in (b"/openapi.json/", b"/hospitals", b"/OPENAPI"):
            self.assertTrue(processor.passes(arrived(Request("GET", other))))
