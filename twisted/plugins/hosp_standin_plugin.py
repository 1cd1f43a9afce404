from twisted.application.service import ServiceMaker

hosp_standin = ServiceMaker(
    "hosp-standin",
    "hosp_standin.tap",
    "A stand-in for HOSP, for development and tests: as slow and as faulty as you ask for.",
    "hosp-standin",
)
