"""What browsers are served: who may come in, the files of a site, and the state as it changes.

A site asks an agent over its local socket, as `nodespan get -w` does, wherever it runs: in a process of its own, or in
the agent itself. `nodespan.runtime.api.browser.site` has the paths, `feeds` the changes, `door` the rights.
"""
