"""The documentation site: `python -m deploy.site` makes it from `docs/` and from the code.

Pages written by people are the files of `docs/`, as they are. Pages of reference are made here, each by the module
named after it, from what the code says of itself, so that nothing is described twice:

    resources       types of resources: names, columns, fields, an example made from the types
    configuration   keys of every kind of document
    messages        events, and problems with what to do: read from the calls that make them
    commands        the command line, from its parsers
    python_api      public modules, which mkdocstrings renders from their docstrings

What a field means stands under it, as a string (`field_docs`). `pages` puts all of it in one folder and in order, and
`build` has MkDocs make the site from that, in a directory per version.
"""
