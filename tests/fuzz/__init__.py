"""Inputs made at random, for as long as there is time: ``make fuzz``.

A generator makes one case from a random stream and says how it ended: ``"right"`` or ``"refused"``.
Whatever else happens (a wrong value, an error that is not multipath's) is a finding.
"""
