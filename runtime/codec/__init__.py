"""Resources as text and bytes."""
