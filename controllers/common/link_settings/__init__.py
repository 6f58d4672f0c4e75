"""Rules for the settings of links: names, bonds, keepalive intervals."""
