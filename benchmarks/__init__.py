"""Load measurements, compared with the same load sent directly to HOSP. Run by hand or by ``make load``."""
