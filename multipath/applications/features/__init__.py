"""Features of folders of long recordings, streamed to files on disk."""
