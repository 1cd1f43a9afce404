"""Traces, as OpenTelemetry has them: which requests are traced, and how their spans are sent.

In reading order:

- ``sampler.py``: decides which requests are traced.
- ``tracer.py``: begins and ends the span of a client's request.
- ``otlp.py``: writes spans as OTLP/HTTP JSON.
- ``exporter.py``: sends spans in batches, outside of all requests.
- ``build_traces.py``: makes all of it from the settings.

``exchange/trace_context.py`` and ``exchange/spans.py``, beside the folders, are the values that attempts at HOSP need.
Everything is off until ``traces.endpoint`` is set; ADR 49 has the reasons.
"""
