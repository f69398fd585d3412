"""Bad input for every parser: structure-aware mutations of what our own programs say."""
