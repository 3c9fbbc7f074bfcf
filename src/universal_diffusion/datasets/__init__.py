"""The datasets as their owners ship them: a catalogue of facts and one reader per native layout."""
