"""Two machines of several workers each, with one Redis and one HOSP: starts them for trials, and kills parts."""
