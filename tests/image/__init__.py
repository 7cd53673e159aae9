"""`make image-check`: the Dockerfile built and run for real, without a container daemon."""
