"""Segmenting a volume: reading CTs as users have them, sampling windows, masks and maps on the CT's own grid."""
