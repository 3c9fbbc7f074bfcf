"""From a harmonised volume to maps of every target: windows, gate, samples, slabs on disk."""
