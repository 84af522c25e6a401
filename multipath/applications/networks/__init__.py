"""Published networks as embeddings: each module has a function ``load`` that makes one."""
