"""The client's side of the API: which nodes there are, and how they are asked."""
