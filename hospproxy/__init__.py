"""hospproxy: a Twisted reverse proxy in front of HOSP, an upstream that cannot be trusted or changed.

Follow a request through the packages:

* ``arrival/``: connections in, ``Request`` objects to the chain, ``Response`` objects back to the client.
* ``guard/``: may the request pass (contract, credentials, ownership, permissions).
* ``memory/``: the cache, and screening results that are still to be stored as notes.
* ``outward/``: to the upstream and back: writes and their outcomes, retry, the gate, the connection.
* ``record/``: the audit trail of every request.
* ``courier/``: a process that does everything after the record is on disk: sinks, index, searches, alerts, retention.
* ``watch/``: health, metrics, the admin listener and the audit page.
* ``traces/``: which requests are traced, and how their spans reach a collector.
* ``sharing/``: state that workers and machines share in one Redis.
* ``workers/``: several worker processes on one machine.
* ``replacement/``: another version takes the place of the running one.
* ``report/``: ``hospproxy-report``, figures from access logs; a program of its own.
* ``control/``: ``hospproxyctl``, commands for the running proxy.
* ``state/``: lock, backup and restore of the state folder.
* ``options/``: reads and checks the options file.

Modules at this level, in reading order:

* ``messages.py``, ``errors.py``, ``contract.py``, ``exchange.py``, ``interfaces.py``: the values, errors and interfaces
  that all use. ``words.py`` has the closed sets of words in records and metrics.
* ``chain.py``: the processors in order; ``own_requests.py``: how the proxy's own requests get there; ``repeat.py``: how
  an equal request is answered without the chain.
* ``foundations.py``, ``assembly.py``: build all parts, stage by stage; ``service.py`` starts and stops them.
  ``chain_parts.py`` builds the processors; ``parts_reload.py`` and ``service_reload.py`` apply changed options.
  ``worker_identity.py``: which of several workers a process is.
* ``tap.py``: the flags of ``twistd hospproxy``. ``config.py`` and ``checks.py``: the settings and their checks.
  ``log_output.py``: level, format and limit of the log.
* ``contract_document.py``, ``contract_query.py``, ``contract_answers.py``, ``contract_permissions.py``,
  ``schema_walk.py``: read the contract document and check values by it. ``contract_publication.py``,
  ``contract_page.py``: the contract as clients may read it.
* ``trace_context.py``, ``spans.py``: the fields and the spans of a trace.
* ``call_ids.py``, ``identity_response.py``, ``tags.py``: read a call's patient and record ids, and the caller's
  identity; name what a cache entry depends on.
* ``audit_users.py``, ``database_url.py``: the users of the audit page, and the URL of its database.
* ``answers.py``, ``retry_after.py``, ``http_dates.py``: error responses, Retry-After, and dates in HTTP.
* ``host.py``, ``clocks.py``, ``worker.py``, ``slices.py``, ``collector.py``: what is taken from the system: time,
  randomness, threads, memory.
* ``shutdown.py``, ``signals.py``, ``privileges.py``: stop, signals, and privileges that the process gives up.
  ``service_manager.py``: what systemd is told. ``socket_activation.py``: sockets that it has opened.
* ``child_process.py``, ``forked_process.py``, ``channel.py``: a process that this one starts or forks, and messages
  between the two.
* ``secrets.py``, ``origin_secrets.py``, ``encryption.py``, ``signing_key.py``: keys, the gateway's secrets,
  encryption of what is stored, the signing key of the audit trail. ``folders.py``: durable folders.
* ``client_endpoint.py``, ``outgoing_http.py``: connections that we open, with TLS, and HTTP requests that we send.
* ``background.py``, ``single_flight.py``, ``late_responses.py``: work that nothing waits for, equal work that is done
  once, responses that outlast their client.
* ``hook.py``, ``iterators.py``, ``json_lists.py``, ``long_text.py``, ``null_meter.py``, ``sqlite_file.py``: small
  helpers.
"""
