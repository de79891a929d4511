"""Where stacks come from when nobody types `up`: files that change, and git repositories.

Each source ends in the very `up` a user would type, so there is one road to what is wanted. What is known of a source
is on the disk before anything is done with it: a new agent goes on where the old one was. When to do what is decided
by `policy.sync`; here it is done.
"""
