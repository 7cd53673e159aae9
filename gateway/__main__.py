"""`python -m gateway`: the same as `replicate-gateway`."""

from gateway.cli import main

if __name__ == "__main__":
    main()
