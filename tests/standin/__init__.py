from hypothesis import settings

# No deadline: how long an example takes says something about the machine's load, not about the stand-in.
settings.register_profile("hospproxy", deadline=None, print_blob=True)
settings.load_profile("hospproxy")
