"""What answers: one module for each kind of scorer, and the contract they share."""
