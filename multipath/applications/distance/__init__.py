"""Which paths tell two recordings apart."""
