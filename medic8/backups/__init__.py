"""Where backups are kept: storage, packs, manifests, retention; what is in them is the targets' matter."""
