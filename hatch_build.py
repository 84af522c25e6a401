"""Links of the package's metadata, out of the one address that ``pyproject.toml`` holds."""

from hatchling.metadata.plugin.interface import MetadataHookInterface


class Links(MetadataHookInterface):
    """Fill ``[project.urls]`` once the address of the repository is known."""

    def update(self, metadata: dict) -> None:
        """Add what visitors look for; nothing as long as there is no address."""
        if repository := self.config["repository"]:
            metadata["urls"] = {
                "Repository": repository,
                "Issues": f"{repository}/issues",
                "Changelog": f"{repository}/blob/main/CHANGELOG.md",
            }
