"""What several families of controllers need: problems, damping, whole files, expressions, prefixes."""
