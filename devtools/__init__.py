"""Tools for development: emulators, servers, generated data, the demo. The product imports none of it."""
