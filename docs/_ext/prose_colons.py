"""A colon in the sentence that documents an attribute is punctuation, not "type: description"."""


def restore(app, what, name, obj, options, lines):
    """Restore the sentence that napoleon split at its first colon."""
    types = [line for line in lines if line.startswith(":type: ")]
    if what in ("attribute", "data", "property") and types:
        lines.remove(types[0])
        lines[0] = f"{types[0].removeprefix(':type: ')}: {lines[0]}"


def setup(app):
    """Register the extension with Sphinx."""
    app.connect("autodoc-process-docstring", restore, priority=900)  # after napoleon
    return {"parallel_read_safe": True}
