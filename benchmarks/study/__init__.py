"""Which sampler and which optimizer train best in the same time: a study on three problems."""
