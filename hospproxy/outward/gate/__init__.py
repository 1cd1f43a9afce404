"""What stands before HOSP so that it is never finished off: few at one time, a short wait, and nobody sent to a HOSP
that is gone.

``gate.py`` joins the rules, which know neither time nor I/O: ``limit.py`` (how many at one time), ``queue.py`` (who is
next), ``estimate.py`` (who waits in vain), ``signs.py`` (what an attempt says of HOSP) and ``breaker.py`` (is it there
at all). ``probing.py`` asks it meanwhile.
"""
