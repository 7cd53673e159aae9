"""What the gateway does, one thing a file: each puts the effects of one promise in their order."""
