"""Two machines of several workers each, one Redis, one HOSP: the places of the trials, and what is killed in them."""
