"""The command line that runs code of this installation in a process of its own."""

import sys


def own_command(module: str) -> tuple[str, ...]:
    """The command that runs the function `main` of a module, which returns the exit status; arguments may follow.

    By this process's interpreter and from where it imports itself: a package keeps the code in a directory of its own,
    which the interpreter alone would not find. Never from the current directory.
    """
    places = [place for place in sys.path if place]
    code = f"import sys; sys.path = {places!r}; from {module} import main; sys.exit(main())"
    return (sys.executable, "-P", "-c", code)
