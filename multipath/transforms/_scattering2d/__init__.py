"""The engine of scattering over images."""
