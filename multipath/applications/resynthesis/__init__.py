"""Find a sound with the coefficients of another."""
