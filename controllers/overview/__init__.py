"""What an operator sees at a glance: sections of `nodespan status`, rules for events, checks of `nodespan doctor`, and
what `nodespan support` collects. Each is behind an entry point, as that of any other package.
"""
