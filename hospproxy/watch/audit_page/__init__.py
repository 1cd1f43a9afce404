"""The audit page on the admin listener: auditors search the trail and print reports. Every look is itself recorded.

In reading order:

- ``page.py``: handles a request: log in, build the page, record the look.
- ``login.py``, ``keys/audit_users.py``, ``login_delay.py``: check passwords, keep the users file, delay guesses.
- ``looks.py``: the audit record of a look.
- ``routes.py``: paths and query strings.
- ``pages.py``: queries the trail, and fills the templates.
- ``views.py``, ``fields.py``, ``reports.py``: turn records into rows, explained fields, and the disclosure report.
- ``timeline.py``: the drawing of a patient's looks day by day.
- ``downloads.py``: streams exports.
- ``html.py``: renders HTML, and adds the header fields.
- ``build_audit_page.py``: builds the page from the settings.

``service/service.py`` builds it, ``admin.py`` serves it, and the command ``hospproxy-audit user`` uses
``keys/audit_users.py``.
"""
