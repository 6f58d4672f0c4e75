"""The rules that a configuration is checked by: one module per family. `base` shows how to write one."""
