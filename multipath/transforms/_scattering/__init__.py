"""The engine of scattering over time: layers of wavelets and moduli, and averages."""
