"""Import of saved JSON responses, and what all file imports share."""
