"""A host: the machine that Medic8 runs on."""
