"""`make bench`: the figures, measured on this machine in one run, whole processes as a user starts them.

Never part of the tests: a machine under load is slow and not wrong.
"""
