"""The room that faces the clients: Starlette in, flows in the middle, bytes out."""
