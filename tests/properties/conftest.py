"""How Hypothesis runs here: a busy machine is no failure; pytest's time-out ends what hangs."""

from hypothesis import settings

settings.register_profile("house", deadline=None, print_blob=True)
settings.load_profile("house")
