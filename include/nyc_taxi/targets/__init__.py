"""targets: the places that months are loaded into, each in a folder of its own behind one interface."""
