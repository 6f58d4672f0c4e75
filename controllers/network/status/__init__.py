"""What the kernel has, as status resources, and what follows from it."""
