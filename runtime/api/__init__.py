"""How clients outside the process read the state: the local socket, and pages and metrics over HTTP."""
