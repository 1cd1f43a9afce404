"""Let twistd find ``hospproxy``. twistd imports this at every start of any plugin, so it imports nothing heavy."""

from twisted.application.service import ServiceMaker

hospproxy = ServiceMaker(
    "hospproxy",
    "hospproxy.tap",
    "A proxy that makes HOSP reliable, secure and auditable.",
    "hospproxy",
)
