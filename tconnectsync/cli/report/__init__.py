"""How `report` shows its figures: in the terminal, and as one HTML file."""
