"""What is compared: suite files, their rows, and the comparisons made of them."""
