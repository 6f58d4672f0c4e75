"""Changes to links, addresses, routes and rules: functions over values, which block and raise OSError."""
