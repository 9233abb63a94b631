"""The nouns: frozen types, protocols, errors, and the registry of names. Imports numpy and msgspec, nothing else."""
