"""What the pump reported, as points. One module for each kind of fact."""
