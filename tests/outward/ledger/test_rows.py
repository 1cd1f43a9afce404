"""A call stored in a ledger entry is read back unchanged."""

from __future__ import annotations

import msgspec
from twisted.trial.unittest import SynchronousTestCase

from hospproxy.contract import document as contract_document
from hospproxy.exchange.exchange import Call
from hospproxy.http.messages import Client, ClientCertificate, Request
from hospproxy.outward.ledger.rows import read_call, write_call
from hospproxy.record.describe import Describer
from tests.stages import identified

CONTRACT = contract_document.load(None)
SHOWN = ClientCertificate("CN=ward7.example", ("ward7.example", "192.0.2.7"), "ab" * 32)


class Clients(SynchronousTestCase):
    def there_and_back(self, client: Client) -> tuple[bytes, Client]:
        call = Call(next(iter(CONTRACT.operations.values())))
        exchange = identified(call, Request(client=client))
        written = write_call(exchange)
        read = read_call(written, CONTRACT, now=0, wall=0)
        assert read is not None
        return written, read.request.client

    def test_with_a_certificate(self) -> None:
        client = Client("10.0.0.1", "192.0.2.7", ("10.0.0.9",), "https", "a", "req-1", SHOWN)
        self.assertEqual(self.there_and_back(client)[1], client)

    def test_without_one_nothing_new_is_written(self) -> None:
        written, client = self.there_and_back(Client("192.0.2.7", "192.0.2.7"))
        self.assertIsNone(client.certificate)
        self.assertNotIn("certificate", msgspec.msgpack.decode(written)["client"])


class Patients(SynchronousTestCase):
    def test_what_a_next_process_finds_out_is_recorded_with_whom_it_is_about(self) -> None:
        call = Call(CONTRACT.operation("deleteNote"), ("3",))
        exchange = identified(call, Request("DELETE"))
        trace = exchange.trace
        trace.patient, trace.patient_before, trace.break_glass = "7", "8", "collapsed"
        read = read_call(write_call(exchange), CONTRACT, now=0, wall=0)
        assert read is not None
        record = Describer(b"k").finding(read, "hp-1", "found", 0)
        self.assertEqual(
            (record["patient_id"], record["patient_before"], record["break_glass"]), ("7", "8", "collapsed")
        )

    def test_without_them_nothing_new_is_written(self) -> None:
        call = Call(CONTRACT.operation("deleteNote"), ("3",))
        written = write_call(identified(call, Request("DELETE")))
        self.assertFalse(
            {"patient", "patient_before", "break_glass"} & msgspec.msgpack.decode(written).keys()
        )
