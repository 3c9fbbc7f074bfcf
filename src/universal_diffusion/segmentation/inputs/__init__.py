"""Reading CTs as users have them: NIfTI, NRRD, MetaImage, DICOM, zips and folders of these."""
