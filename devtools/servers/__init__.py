"""servers: the servers that development and tests need, each on loopback."""
