"""What a stack file says that is allowed and probably not meant. A rule is a pure function over the effective stack.

`table` has them all by name; `finding` what they return; the other files hold the rules, by what they are about. Rules
change nothing and refuse nothing: mistakes are `sound`'s and the schema's. What looks at the host (does a bound path
exist?) is told the answer.
"""
