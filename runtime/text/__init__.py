"""Texts: escaping, JSONPath, suggestions for misspelt words, graphs as DOT and Mermaid."""
