"""Several layers of specs become one merged spec per link, address, route and so on."""
