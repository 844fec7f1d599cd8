"""What a notebook shows: the terminal's reports as HTML, and what goes on."""
