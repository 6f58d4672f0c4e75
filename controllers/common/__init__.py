"""Shared by several families of controllers: problems, damping, whole files, expressions, prefixes."""
