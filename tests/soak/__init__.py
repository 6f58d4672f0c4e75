"""What is run for hours, not in CI: the same tests again and again, for what happens once in a while."""
