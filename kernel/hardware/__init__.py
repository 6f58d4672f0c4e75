"""What drivers and buses say of links."""
