"""What every folder of results needs: files, locks, settings and pages."""
