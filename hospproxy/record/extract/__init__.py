"""The extract that an animal's owner may ask for: when the patient's data were seen or changed, and how; no names.

In reading order:

- `owner_extract.py`: which records count, what an owner is told of each, and the pseudonyms. Pure.
- `forms.py`: the extract as a page to print (`templates/`), as text, JSON or CSV.

`record/commands/` and `watch/audit_page/` import it. It imports only `record/search/` and `record/export/`.
"""
