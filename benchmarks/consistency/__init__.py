"""Nobody is shown what was there before a write that was answered: tried with everything that can go wrong between."""
