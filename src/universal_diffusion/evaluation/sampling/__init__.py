"""What sampling costs and brings: the gate, and the sweep over steps and samples."""
