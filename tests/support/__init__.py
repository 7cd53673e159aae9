"""What several rooms' tests share: a clock moved by hand, servers on a socket, documents."""
