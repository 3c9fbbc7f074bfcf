"""From maps on the harmonised grid to files on the CT's own: masks, maps, label map, DICOM-SEG, overview."""
