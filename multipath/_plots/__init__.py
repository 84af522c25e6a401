"""Drawing: each function takes arrays and returns a figure or writes it to a file."""
