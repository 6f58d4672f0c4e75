"""From merged specs to the kernel: links, addresses, routes, rules and aliases, with a pure plan beside each."""
