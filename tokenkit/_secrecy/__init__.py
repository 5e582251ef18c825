"""No output shows a secret: references, files, pickles, scrubbed texts and clean causes, in one room."""
