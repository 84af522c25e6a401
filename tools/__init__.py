"""Small programs for maintainers, which need nothing but Python."""
