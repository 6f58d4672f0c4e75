"""The packages: `python -m deploy` makes a .deb and an .rpm of this tree, with the Python dependencies inside.

One package serves every supported Python of its architecture: extension modules bear the version of Python in their
names, so those for 3.11, 3.12 and 3.13 lie side by side (docs/adr/0024). The steps, a module each:

    lock      which wheels, by digest             tree      the files of a package, in a directory
    wheels    fetch and unpack them               manual    manual pages, from the parsers
    deb, rpm  a directory to a package            epoch     the one time stamp of everything
    release   everything of a release             sbom      what of other people's is in a package

Two builds of one commit give the same bytes, whenever and by whomever they are made.
"""
