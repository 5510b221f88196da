"""Two results: may they be compared, what changed beyond chance, and the gate."""
